/**
 * English and Chinese. Each element stores its text in both (`data-en`, `data-zh`), so a switch reaches all elements on
 * the page without a registry of them.
 */

const LANGUAGES = /** @type {const} */ (["en", "zh"]);
const STORAGE_KEY = "language";

/**
 * @typedef {typeof LANGUAGES[number]} Language
 * @typedef {Record<Language, string>} Text The same text in every language.
 */

/**
 * Set an element's text, which follows the language from then on.
 *
 * @template {HTMLElement} E
 * @param {E} element
 * @param {Text} text
 * @returns {E} The element.
 */
export function say(element, text) {
  Object.assign(element.dataset, text);
  element.textContent = text[currentLanguage()];
  return element;
}

/**
 * Listen to language changes, for texts that `say` cannot set.
 *
 * @param {(language: Language) => void} listener
 */
export function onLanguageChange(listener) {
  listeners.push(listener);
}

/** @type {((language: Language) => void)[]} */
const listeners = [];

/** @returns {Language} The language chosen on an earlier visit, otherwise the browser's. */
export function firstLanguage() {
  return known(stored()) ?? (navigator.language.startsWith("zh") ? "zh" : "en");
}

/**
 * Show the page in a language.
 *
 * @param {string} name
 * @param {{remember?: boolean}} [options] `remember` it for the next visit.
 */
export function chooseLanguage(name, { remember = false } = {}) {
  const language = known(name) ?? "en";
  document.documentElement.lang = language;
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll("[data-en]"))) {
    element.textContent = element.dataset[language] ?? "";
  }
  for (const listener of listeners) listener(language);
  if (remember) store(language);
}

function currentLanguage() {
  return known(document.documentElement.lang) ?? "en";
}

/** @param {string | null} name */
function known(name) {
  return LANGUAGES.find((language) => language === name);
}

// Accessing localStorage throws if the browser blocks it (private windows, blocked cookies). The switch still works.

function stored() {
  try {
    return localStorage.getItem(STORAGE_KEY);
  } catch {
    return null;
  }
}

/** @param {Language} language */
function store(language) {
  try {
    localStorage.setItem(STORAGE_KEY, language);
  } catch {
    // The choice lasts for this visit only.
  }
}
