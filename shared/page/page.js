/** The page: a language switch, and one section for each panel that the server names in `<meta name="panels">`. */

import { element } from "./dom.js";
import { field } from "./field.js";
import { request } from "./http.js";
import { chooseLanguage, firstLanguage, onLanguageChange, say } from "./language.js";
import { Problem, problemNotice } from "./problem.js";
import { streamEvents } from "./sse.js";

/**
 * What a panel is given. So a panel imports nothing from here, and need not know where these files are served.
 *
 * @typedef {typeof page} Page
 */
const page = { element, field, say, onLanguageChange, request, streamEvents, Problem, problemNotice };

/**
 * What a panel's module exports.
 *
 * @typedef {object} Panel
 * @property {import("./language.js").Text} title
 * @property {(root: HTMLElement, page: Page) => void} mount Fills its section.
 */

setUpLanguageSwitch();
mountPanels();

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

function mountPanels() {
  const main = /** @type {HTMLElement} */ (document.querySelector("main"));
  const meta = /** @type {HTMLMetaElement} */ (document.querySelector("meta[name=panels]"));
  for (const url of meta.content.split(" ").filter(Boolean)) {
    // The section is there before its module is, so that panels keep the server's order however they load.
    const section = element("section", { className: "panel" });
    main.append(section);
    mountPanel(section, new URL(url, document.baseURI));
  }
}

/**
 * @param {HTMLElement} section
 * @param {URL} url
 */
async function mountPanel(section, url) {
  try {
    const panel = /** @type {Panel} */ (await import(url.href));
    section.append(say(element("h2"), panel.title));
    panel.mount(section, page);
  } catch (error) {
    // One panel that is broken must not take the others with it.
    section.replaceChildren(problemNotice(error));
  }
}
