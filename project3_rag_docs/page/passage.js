import { dateIn, percent } from "./format.js";
import { PDF, pagePicture } from "./page-picture.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 *
 * @typedef {object} Source A passage in the model's prompt, or one that a search found.
 * @property {number} [marker] Its number in the prompt.
 * @property {number} [score] In the search: the probability that it is relevant.
 * @property {string} [created_at] In the search: the time of the upload.
 * @property {string} document_id
 * @property {string} chunk_id
 * @property {string} filename
 * @property {number | null} page From 1; null if the format has no pages.
 * @property {string | null} heading
 * @property {string} text
 * @property {boolean} recognised Whether the text was recognised in an image.
 * @property {string} media_type Of the document.
 */

let passages = 0;

/**
 * A passage that was cited or found, collapsed.
 *
 * @param {Page} page
 * @param {Source} source
 */
export function passageView(page, source) {
  const { element, say, request, problemNotice } = page;
  const { marker, score, created_at, filename, page: number, heading, text, recognised } = source;
  const id = `documents-passage-${(passages += 1)}`;
  const titleId = `${id}-title`;
  const where = element("span", { id: titleId, className: "where" }, filename);
  if (number !== null) where.append(" · ", say(element("span"), { en: `page ${number}`, zh: `第 ${number} 页` }));
  if (heading) where.append(" · ", heading);
  if (recognised) where.append(" · ", say(element("span"), { en: "recognised in an image", zh: "识别自图片" }));
  const preview = element("span", { className: "hint preview" }, score === undefined ? "" : text);
  const summary = element("summary", {}, marker === undefined ? "" : `[${marker}] `, where, preview);
  if (score !== undefined) {
    const share = percent(score);
    const relevance = say(element("span"), { en: `relevance ${share}`, zh: `相关度 ${share}` });
    const date = say(element("span"), { en: dateIn("en", created_at), zh: dateIn("zh", created_at) });
    summary.append(element("span", { className: "hint relevance" }, relevance, " · ", date));
  }
  const body = element("div", { className: "answer" }, text);
  const back = say(element("button", { type: "button", hidden: true }), { en: "Back to the answer", zh: "回到回答" });
  const more = say(element("button", { type: "button", onclick: showContext }), {
    en: "Show the text around it",
    zh: "显示上下文",
  });
  const before = element("p", { className: "hint context", hidden: true });
  const after = element("p", { className: "hint context", hidden: true });
  const trouble = element("div");
  const whole = say(element("a", { href: `#/documents/${source.document_id}${number === null ? "" : `/${number}`}` }), {
    en: "Open the document",
    zh: "打开文档",
  });
  const picture = element("div");
  const buttons = element("div", { className: "buttons" }, more, back, whole);
  const details = element("details", {}, summary, before, body, after, picture, trouble, buttons);
  const node = element("li", { id }, details);
  /** @type {{start: number, end: number}[]} */
  let quoted = [];
  details.addEventListener("toggle", () => details.open && showPage());

  /** @param {HTMLElement} from The element to which "Back to the answer" returns the focus. */
  function open(from) {
    details.open = true;
    back.hidden = false;
    back.onclick = () => from.focus();
    summary.focus();
    (body.querySelector("mark") ?? node).scrollIntoView({ block: "nearest" });
  }

  /** Show the page of a PDF, with the quotes marked, or with the passage as long as there are none. */
  function showPage() {
    if (number === null || source.media_type !== PDF || picture.hasChildNodes()) return;
    const at = (/** @type {number} */ position) => String([...text.slice(0, position)].length); // in code points
    const [first, last] = [quoted[0], quoted.at(-1)];
    const part = first && last && { start: at(first.start), end: at(last.end) };
    const mark = { chunk_id: source.chunk_id, ...part };
    picture.append(pagePicture(page, { documentId: source.document_id, number, mark }).node);
  }

  /** Show the passages before and after it. They may repeat its first or last sentence. */
  async function showContext() {
    try {
      trouble.replaceChildren();
      const path = `documents/${source.document_id}/chunks/${source.chunk_id}/neighbours`;
      /** @type {{items: {id: string, text: string}[]}} */
      const { items } = await (await request(path)).json();
      const place = items.findIndex(({ id: chunk }) => chunk === source.chunk_id);
      const [earlier, later] = [items[place - 1], items[place + 1]];
      before.textContent = earlier?.text ?? "";
      before.hidden = !earlier;
      after.textContent = later?.text ?? "";
      after.hidden = !later;
      more.hidden = true;
      summary.focus();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, showContext));
    }
  }

  /** @param {string[]} quotes Verbatim from the text, but for line breaks. */
  function mark(quotes) {
    preview.textContent = quotes.join(" … ");
    const found = quotes.flatMap((quote) => spanOf(text, quote) ?? []).sort((one, other) => one.start - other.start);
    quoted = found;
    /** @type {(string | HTMLElement)[]} */
    const parts = [];
    let at = 0;
    for (const { start, end } of found) {
      if (start < at) continue; // inside another quote
      parts.push(text.slice(at, start), element("mark", {}, text.slice(start, end)));
      at = end;
    }
    body.replaceChildren(...parts, text.slice(at));
  }

  return { node, id, titleId, open, mark };
}

/**
 * Find a quote in a text, whatever white space either of them has.
 *
 * @param {string} text
 * @param {string} quote
 */
function spanOf(text, quote) {
  const characters = [...quote.replaceAll(/\s/g, "")].map((character) => character.replace(/[\\^$.*+?()[\]{}|/]/, "\\$&"));
  const found = characters.length > 0 ? new RegExp(characters.join("\\s*"), "u").exec(text) : null;
  return found && { start: found.index, end: found.index + found[0].length };
}
