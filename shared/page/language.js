/**
 * English and Chinese. An element carries its text in both (`data-en`, `data-zh`), so a switch reaches everything that
 * is on the page, and nothing has to be remembered about what has left it.
 */

const LANGUAGES = /** @type {const} */ (["en", "zh"]);
const STORAGE_KEY = "language";

/**
 * @typedef {typeof LANGUAGES[number]} Language
 * @typedef {Record<Language, string>} Text The same text in every language.
 */

/**
 * Give an element its text. It follows the language from then on.
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
 * Be told of every change of the language, for what `say` cannot reach.
 *
 * @param {(language: Language) => void} listener
 */
export function onLanguageChange(listener) {
  listeners.push(listener);
}

/** @type {((language: Language) => void)[]} */
const listeners = [];

/** @returns {Language} The one that was chosen on an earlier visit, else the browser's. */
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

// Touching localStorage throws where a browser blocks it (private windows, blocked cookies). The switch works anyway.

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
    // It holds for this visit only.
  }
}
