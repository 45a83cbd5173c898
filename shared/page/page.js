/**
 * The page: a language switch, and a section for each panel in `<meta name="panels">`. A panel may have an audience:
 * `users.js#administrators` is loaded only after another panel has admitted an administrator.
 */

import { element } from "./dom.js";
import { field } from "./field.js";
import { download, identified, identifyBy, request } from "./http.js";
import { chooseLanguage, firstLanguage, onLanguageChange, say } from "./language.js";
import { Problem, problemNotice } from "./problem.js";
import { reasoningView } from "./reasoning.js";
import { streamEvents } from "./sse.js";

/**
 * The API of panels. They import nothing from here, and do not depend on the URLs of these files.
 *
 * @typedef {typeof page} Page
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

/** @type {Map<string, () => void>} Functions that show the panels of an audience. */
const admissions = new Map();

setUpLanguageSwitch();
mountPanels();

/**
 * Show the panels of an audience. To hide them again, reload the page, which also discards their data.
 *
 * @param {string} audience
 */
function admit(audience) {
  admissions.get(audience)?.();
}

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
  for (const panel of meta.content.split(" ").filter(Boolean)) {
    const [path, audience] = panel.split("#");
    const url = new URL(path, document.baseURI);
    // The section is added before its module has loaded, so that panels keep the server's order.
    const section = element("section", { className: "panel", hidden: Boolean(audience) });
    main.append(section);
    if (audience) mountLater(section, url, audience);
    else mountPanel(section, url);
  }
}

/**
 * @param {HTMLElement} section
 * @param {URL} url
 * @param {string} audience
 */
function mountLater(section, url, audience) {
  const others = admissions.get(audience);
  admissions.set(audience, () => {
    others?.();
    section.hidden = false;
    mountPanel(section, url);
  });
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
    // A broken panel must not affect the others.
    section.replaceChildren(problemNotice(error));
  }
}
