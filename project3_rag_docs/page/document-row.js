import { documentState } from "./document-state.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("./document-state.js").Document} Document
 */

/**
 * A document in the list. Its name leads to its detail view.
 *
 * @param {Page} page
 * @param {Document} shown
 * @param {{hintId: string, onTicked: () => void}} listeners
 */
export function documentRow(page, shown, { hintId, onTicked }) {
  const { element } = page;
  const tick = element("input", { type: "checkbox", onchange: onTicked });
  const name = element("a", {
    className: "filename",
    id: `documents-${shown.id}`,
    href: `#/documents/${shown.id}`,
  });
  tick.setAttribute("aria-labelledby", name.id);
  tick.setAttribute("aria-describedby", hintId);
  const state = documentState(page, name.id);
  const head = element("div", { className: "head" }, element("label", {}, tick), name);
  const node = element("li", {}, head, ...state.nodes);
  let current = shown;
  show(shown);

  /** @param {Document} document */
  function show(document) {
    current = document;
    name.textContent = document.filename;
    state.show(document);
    tick.disabled = document.status === "failed"; // nothing can be found in it
    if (tick.disabled && tick.checked) {
      tick.checked = false;
      onTicked();
    }
  }

  return { node, document: () => current, show, isTicked: () => tick.checked, focus: () => name.focus() };
}
