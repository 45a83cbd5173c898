/** The panel of runs: the list of the user's runs, or what one of them did. */

import { runList } from "./run-list.js";
import { runView } from "./run-view.js";

/** @typedef {import("../../shared/page/page.js").Page} Page */

export const title = { en: "Runs", zh: "运行" };

/**
 * @param {HTMLElement} root
 * @param {Page} page
 */
export function mount(root, page) {
  const { element } = page;
  const style = new URL("runs.css", import.meta.url).href; // the Content-Security-Policy forbids inline styles
  document.head.append(element("link", { rel: "stylesheet", href: style }));
  const list = runList(page);
  const place = element("div");
  root.classList.add("runs");
  root.append(list.node, place);
  let opened = new AbortController(); // for the run that is shown
  page.onAddress(open);
  open(page.address());

  /** @param {string} id A run's id; "" for the list. */
  function open(id) {
    opened.abort();
    opened = new AbortController();
    list.node.hidden = id !== "";
    place.hidden = id === "";
    if (id === "") return list.load();
    const view = runView(page, id, { signal: opened.signal, onForked });
    place.replaceChildren(view.node);
    return view.load();
  }

  /** @param {string} id The run that was started from a step of the one that is shown. */
  function onForked(id) {
    page.setAddress(id);
    open(id);
    root.querySelector("h2")?.focus();
  }
}
