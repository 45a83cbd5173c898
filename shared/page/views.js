/**
 * Views: panels that are shown together, at an address. `#/runs/1234` is the view `runs`, and `1234` is for its panels.
 *
 * The server sends a link for each view and a section for each panel. A panel may have an audience: its section is shown
 * only after another panel has admitted that audience. Until then, a view is neither shown nor linked, but the address
 * is kept, so a link that is opened by somebody who must sign in first leads to its view afterwards.
 */

import { onLanguageChange } from "./language.js";

/**
 * The part of the API of panels that depends on the panel. On a page without views, the names of panels replace those of
 * views: `#/documents/1234` is for `documents.js`.
 *
 * @typedef {object} Address
 * @property {() => string} address Returns what follows the view's name in the address: the id in `#/runs/<id>`, or "".
 * @property {(listener: (address: string) => void) => void} onAddress Calls the listener when the user goes to another
 *   address of the view: by a link, by the navigation, or back and forth. It is not called for the first address.
 * @property {(address: string, options?: {replace?: boolean}) => void} setAddress Changes the address, without a call of
 *   the listeners. `replace` adds no entry to the browser's history.
 */

const EARLIER_THREAD = /^#thread=(.+)$/; // the only address before there were views

const sections = /** @type {HTMLElement[]} */ ([...document.querySelectorAll("main > .panel")]);
const navigation = /** @type {HTMLElement} */ (document.querySelector("nav.views"));
const links = [...navigation.querySelectorAll("a")].map((link) => ({ link, name: link.hash.slice(2) }));
const appTitle = document.title;

/** @type {Set<string | undefined>} Audiences whose panels may be shown; "" is everyone. */
const admitted = new Set([""]);
/** @type {Map<string, string>} The last address of each view, without its name. */
const addresses = new Map();
/** @type {Map<string, ((address: string) => void)[]>} By the view's name. */
const listeners = new Map();
/** @type {(section: HTMLElement) => Promise<void>} */
let mount = async () => {};
let shown = "";

/**
 * Show the view of the address, and follow the address from then on.
 *
 * @param {(section: HTMLElement) => Promise<void>} mountPanel Called with each section that becomes visible.
 */
export function showViews(mountPanel) {
  mount = mountPanel;
  addEventListener("hashchange", readAddress);
  onLanguageChange(showTitle);
  const main = /** @type {HTMLElement} */ (document.querySelector("main"));
  document.querySelector(".skip")?.addEventListener("click", (event) => {
    event.preventDefault(); // its address is no view
    main.focus();
  });
  readAddress();
}

/**
 * Show the panels of an audience. To hide them again, reload the page, which also discards their data.
 *
 * @param {string} audience
 */
export function admit(audience) {
  admitted.add(audience);
  show();
  showLinks();
}

/**
 * @param {string} name Of the view.
 * @returns {Address}
 */
export function addressOf(name) {
  return {
    address: () => addresses.get(name) ?? "",
    onAddress: (listener) => void listeners.set(name, [...(listeners.get(name) ?? []), listener]),
    setAddress: (address, { replace = false } = {}) => {
      addresses.set(name, address);
      if (isView(name) && name !== shown) return; // the user has gone to another view in the meantime
      const hash = hashOf(name);
      if (hash === location.hash) return;
      if (replace) history.replaceState(null, "", hash);
      else history.pushState(null, "", hash);
      showLinks();
    },
  };
}

function readAddress() {
  const [, thread] = EARLIER_THREAD.exec(location.hash) ?? [];
  if (thread) history.replaceState(null, "", `#/chat/${thread}`);
  show();
  const { name, address } = asked();
  if (shown) arrive(name || shown, address); // without a name, the first view is meant
  // On a page without views, the panels that are not named are at their beginning.
  else for (const one of new Set([name, ...listeners.keys()])) arrive(one, one === name ? address : "");
}

/**
 * @param {string} name
 * @param {string} address
 */
function arrive(name, address) {
  const isChanged = address !== (addresses.get(name) ?? "");
  addresses.set(name, address);
  showLinks();
  if (isChanged) for (const listener of listeners.get(name) ?? []) listener(address);
}

function asked() {
  const [, name = "", address = ""] = /^#\/([^/]*)\/?(.*)$/.exec(location.hash) ?? [];
  return { name, address };
}

async function show() {
  const before = shown;
  const { name } = asked();
  const possible = links.filter((one) => sections.some((section) => isAdmitted(section) && isOf(section, one.name)));
  shown = (possible.find((one) => one.name === name) ?? possible[0])?.name ?? "";
  for (const section of sections) {
    const { address = "" } = section.dataset;
    section.hidden = !isAdmitted(section) || (isView(address) && address !== shown);
  }
  navigation.hidden = possible.length < 2;
  for (const { link, name } of links) {
    /** @type {HTMLElement} */ (link.parentElement).hidden = !possible.some((one) => one.name === name);
  }
  showTitle();
  const visible = sections.filter((section) => !section.hidden);
  const first = visible.find((section) => isOf(section, shown));
  const isChanged = shown !== before;
  if (isChanged) scrollToLink();
  await Promise.all(visible.map(mount));
  if (before && isChanged) first?.querySelector("h2")?.focus();
}

/** On a phone, the links are wider than the window. */
function scrollToLink() {
  const bar = /** @type {HTMLElement} */ (navigation.parentElement);
  const link = links.find(({ name }) => name === shown)?.link;
  if (link) bar.scrollLeft = link.offsetLeft + link.offsetWidth / 2 - bar.clientWidth / 2;
}

/** Let each link lead to where the user was in its view, and that of the current view to its beginning. */
function showLinks() {
  for (const { link, name } of links) {
    link.setAttribute("aria-current", name === shown ? "page" : "false");
    link.hash = name === shown ? `#/${name}` : hashOf(name);
  }
}

function showTitle() {
  const text = links.find(({ name }) => name === shown)?.link.textContent;
  document.title = text ? `${text} · ${appTitle}` : appTitle;
}

/** @param {string} name */
function hashOf(name) {
  const address = addresses.get(name);
  return address ? `#/${name}/${address}` : `#/${name}`;
}

/** @param {string} name */
function isView(name) {
  return links.some((one) => one.name === name);
}

/** @param {HTMLElement} section */
function isAdmitted({ dataset }) {
  return admitted.has(dataset.audience);
}

/**
 * @param {HTMLElement} section
 * @param {string} name
 */
function isOf({ dataset }, name) {
  return dataset.address === name;
}
