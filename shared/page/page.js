/**
 * The page: a language switch, and one section for each panel that the server names in `<meta name="panels">`. Some are
 * for certain people only: `users.js#administrators` is not even loaded until a panel has admitted an administrator.
 */

import { element } from "./dom.js";
import { field } from "./field.js";
import { download, identified, identifyBy, request } from "./http.js";
import { chooseLanguage, firstLanguage, onLanguageChange, say } from "./language.js";
import { Problem, problemNotice } from "./problem.js";
import { streamEvents } from "./sse.js";

/**
 * What a panel is given. So a panel imports nothing from here, and need not know where these files are served.
 *
 * @typedef {typeof page} Page
 */
const page = {
  ...{ element, field, say, onLanguageChange },
  ...{ request, download, identified, identifyBy, streamEvents },
  ...{ Problem, problemNotice, admit },
};

/**
 * What a panel's module exports.
 *
 * @typedef {object} Panel
 * @property {import("./language.js").Text} title
 * @property {(root: HTMLElement, page: Page) => void} mount Fills its section.
 */

/** @type {Map<string, () => void>} What shows the panels of an audience. */
const admissions = new Map();

setUpLanguageSwitch();
mountPanels();

/**
 * Show the panels that are for an audience. There is no way back but to load the page anew, which forgets everything.
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
    // The section is there before its module is, so that panels keep the server's order however they load.
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
    // One panel that is broken must not take the others with it.
    section.replaceChildren(problemNotice(error));
  }
}
