/** The X-ray of requests: what was done for one, as a time line whose rows lead to the source and to the course. */

import { controls } from "./xray-controls.js";
import { timeline } from "./xray-timeline.js";

/**
 * @typedef {import("./page.js").Page} Page
 *
 * @typedef {object} RequestHead
 * @property {string} request_id
 * @property {string} method
 * @property {string} path
 * @property {number} started Unix time in seconds.
 * @property {number | null} status
 */

export const title = { en: "Request X-ray", zh: "请求透视" };

// Together they take half of a user's requests per minute at most, as project 4 limits them.
const LIST_MILLISECONDS = 5000;
const TIMELINE_MILLISECONDS = 1500; // while something goes on

/**
 * @param {HTMLElement} root
 * @param {Page} page
 */
export function mount(root, page) {
  const { element, say, field, request, problemNotice } = page;
  const style = new URL("xray.css", import.meta.url).href; // the Content-Security-Policy forbids inline styles
  document.head.append(element("link", { rel: "stylesheet", href: style }));
  let shown = new URLSearchParams(location.search).get("xray") ?? "";

  const about = say(element("p", { className: "hint" }), {
    en: "Everything that was done for a request, on this machine only. A row leads to its line of source and to the question that explains it.",
    zh: "一个请求经过的每一步，只在本机显示。每一行都可以打开对应的源码，以及讲解它的问题。",
  });
  const control = controls(page, { onChange: refresh });
  const chosen = field({
    id: "xray-request-id",
    control: element("input", { type: "text", autocomplete: "off", spellcheck: false }),
    label: { en: "Request ID", zh: "请求编号" },
    check: ({ value }) => (value.trim() ? null : { en: "Enter a request id.", zh: "请输入请求编号。" }),
  });
  const show = say(element("button", { type: "submit" }), { en: "Show", zh: "查看" });
  const form = element("form", { noValidate: true, className: "xray-form" }, chosen.node, show);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (chosen.validate()) open(chosen.control.value.trim());
  });
  const list = element("ol", { className: "history xray-requests", role: "list" });
  const trouble = element("div");
  const view = timeline(page);
  const summary = say(element("summary"), { en: "Look inside", zh: "打开透视" });
  const body = element("div", { className: "xray" }, about, control.node, form, list, trouble, view.node);
  const fold = element("details", { open: Boolean(shown) }, summary, body);
  root.append(fold);
  const isLookedAt = () => fold.open && !document.hidden;
  fold.addEventListener("toggle", () => fold.open && refresh());
  setInterval(() => isLookedAt() && refresh(), LIST_MILLISECONDS);
  setInterval(() => isLookedAt() && view.goesOn() && load(showTimeline), TIMELINE_MILLISECONDS);
  // The ids that other panels show with an error open its time line.
  document.addEventListener("click", ({ target }) => {
    const id = target instanceof Element && target.closest(".request-id code")?.textContent;
    if (id) open(id);
  });
  if (shown) refresh();

  /** @param {string} id */
  function open(id) {
    shown = id;
    chosen.control.value = id;
    fold.open = true;
    view.clear();
    view.node.scrollIntoView({ block: "nearest" });
    refresh();
  }

  function refresh() {
    return load(async () => {
      await showList();
      await showTimeline();
    });
  }

  /** @param {() => Promise<void>} work */
  async function load(work) {
    try {
      await work();
      trouble.replaceChildren();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, refresh));
      if (error instanceof page.Problem && error.status === 404) shown = "";
    }
  }

  async function showList() {
    const { requests, actions } = await (await request("xray/requests")).json();
    control.show(actions);
    list.replaceChildren(...requests.map(item));
  }

  async function showTimeline() {
    const id = shown;
    if (!id) return;
    const read = await (await request(`xray/requests/${encodeURIComponent(id)}`)).json();
    if (id === shown) view.show(read);
  }

  /** @param {RequestHead} head */
  function item({ request_id, method, path, started, status }) {
    const when = new Date(started * 1000).toLocaleTimeString();
    const text = `${when}  ${method} ${path}  ${status ?? "…"}`;
    const button = element("button", { type: "button", onclick: () => open(request_id) }, text);
    button.ariaPressed = String(request_id === shown);
    return element("li", {}, button);
  }
}
