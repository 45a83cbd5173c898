/** The page: a language switch, and the panels whose sections the server has sent, each loaded when it is first shown. */

import { element } from "./dom.js";
import { field } from "./field.js";
import { download, identified, identifyBy, request } from "./http.js";
import { chooseLanguage, firstLanguage, onLanguageChange, say } from "./language.js";
import { Problem, problemNotice } from "./problem.js";
import { reasoningView } from "./reasoning.js";
import { streamEvents } from "./sse.js";
import { addressOf, admit, showViews } from "./views.js";

/**
 * The API of panels. They import nothing from here, and do not depend on the URLs of these files.
 *
 * @typedef {typeof page & import("./views.js").Address} Page
 */
const page = {
  ...{ element, field, say, onLanguageChange, reasoningView },
  ...{ request, download, identified, identifyBy, streamEvents },
  ...{ Problem, problemNotice, admit },
};

/**
 * The exports of a panel's module.
 *
 * @typedef {object} Panel
 * @property {import("./language.js").Text} title
 * @property {(root: HTMLElement, page: Page) => void} mount Fills the panel's section.
 */

/** @type {WeakSet<HTMLElement>} Sections whose panels are loaded, or being loaded. */
const mounted = new WeakSet();

setUpLanguageSwitch();
showViews(mountPanel);

function setUpLanguageSwitch() {
  const buttons = /** @type {NodeListOf<HTMLButtonElement>} */ (document.querySelectorAll(".languages button"));
  for (const button of buttons) {
    button.addEventListener("click", () => chooseLanguage(button.value, { remember: true }));
  }
  onLanguageChange((language) => {
    for (const button of buttons) button.ariaPressed = String(button.value === language);
  });
  chooseLanguage(firstLanguage());
}

/**
 * Load a panel's module and fill its section, when it is shown for the first time.
 *
 * @param {HTMLElement} section
 */
async function mountPanel(section) {
  if (mounted.has(section)) return;
  mounted.add(section);
  const { module = "", address = "" } = section.dataset;
  try {
    const panel = /** @type {Panel} */ (await import(new URL(module, document.baseURI).href));
    section.append(say(element("h2", { tabIndex: -1 }), panel.title));
    panel.mount(section, { ...page, ...addressOf(address) });
  } catch (error) {
    // A broken panel must not affect the others.
    section.replaceChildren(problemNotice(error));
  }
}
