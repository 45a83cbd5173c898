import { PDF, pagePicture } from "./page-picture.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("./document-state.js").Document} Document
 * @typedef {{id: string, page: number | null, heading: string | null, text: string, recognised: boolean}} Passage
 */

const PASSAGES = 10;

/**
 * The content of a document: the pages of a PDF one by one, otherwise its passages.
 *
 * @param {Page} page
 * @param {Document} document
 * @param {number} first The page to begin with.
 */
export function documentContent(page, document, first) {
  return document.media_type === PDF ? pages(page, document, first) : passages(page, document);
}

/**
 * @param {Page} page
 * @param {Document} document
 * @param {number} first
 */
function pages(page, document, first) {
  const { element, say, setAddress } = page;
  const place = element("div");
  const input = element("input", { type: "number", min: "1", id: "documents-page" });
  input.addEventListener("change", () => show(Number(input.value)));
  const label = say(element("label", { htmlFor: input.id }), { en: "Page", zh: "页码" });
  const back = say(element("button", { type: "button", onclick: () => show(number - 1) }), {
    en: "Previous page",
    zh: "上一页",
  });
  const next = say(element("button", { type: "button", onclick: () => show(number + 1) }), {
    en: "Next page",
    zh: "下一页",
  });
  const turning = element("div", { className: "buttons pages" }, back, label, input, next);
  let number = first;
  show(first, { replace: true });

  /**
   * @param {number} wanted
   * @param {{replace?: boolean}} [options]
   */
  function show(wanted, { replace = false } = {}) {
    number = Math.max(1, Math.trunc(wanted) || 1);
    input.value = String(number);
    back.disabled = number === 1;
    if (!replace) setAddress(`${document.id}/${number}`, { replace: true });
    place.replaceChildren(pagePicture(page, { documentId: document.id, number }).node);
  }

  return element("div", { className: "content" }, turning, place);
}

/**
 * @param {Page} page
 * @param {Document} document
 */
function passages(page, document) {
  const { element, say, request, problemNotice } = page;
  const list = element("ol", { className: "text", role: "list" });
  const trouble = element("div");
  const more = say(element("button", { type: "button", hidden: true, onclick: load }), { en: "More text", zh: "更多内容" });
  /** @type {string | null} */
  let cursor = null;
  let heading = "";
  load();

  async function load() {
    try {
      const query = new URLSearchParams({ limit: String(PASSAGES), ...(cursor && { cursor }) });
      /** @type {{items: Passage[], next_cursor: string | null}} */
      const { items, next_cursor } = await (await request(`documents/${document.id}/chunks?${query}`)).json();
      const rows = items.map(row);
      list.append(...rows);
      if (cursor) rows[0]?.focus();
      cursor = next_cursor;
      more.hidden = cursor === null;
      trouble.replaceChildren();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, load));
    }
  }

  /** @param {Passage} passage */
  function row({ page: number, heading: path, text }) {
    const item = element("li", { tabIndex: -1 });
    if (number !== null || (path ?? "") !== heading) {
      heading = path ?? "";
      const where = number === null ? element("span") : say(element("span"), { en: `page ${number}`, zh: `第 ${number} 页` });
      item.append(element("p", { className: "where" }, where, number !== null && path ? " · " : "", path ?? ""));
    }
    item.append(element("div", { className: "answer" }, text));
    return item;
  }

  return element("div", { className: "content" }, list, trouble, more);
}
