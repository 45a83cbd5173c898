import { documentRow } from "./document-row.js";
import { follower } from "./follow.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 *
 * @typedef {object} Document
 * @property {string} id
 * @property {string} filename
 * @property {number} size_bytes
 * @property {"processing" | "ready" | "failed"} status
 * @property {number} progress
 * @property {number} chunk_count
 * @property {string | null} error
 * @property {string | null} notice What could not be read of a document that is ready.
 * @property {string[]} tags
 * @property {string} created_at
 */

const PAGE_SIZE = 10;
const TYPING_MILLISECONDS = 250;

/**
 * The list of documents, newest first. Documents that are being ingested are followed.
 *
 * @param {Page} page
 * @param {object} listeners
 * @param {(count: number) => void} listeners.onTicked
 * @param {() => void} listeners.onLastRemoved Called when the list has no element left that could take the focus.
 * @param {(text: Text) => void} listeners.announce
 */
export function documentList(page, { onTicked, onLastRemoved, announce }) {
  const { element, say, request, problemNotice } = page;
  const heading = say(element("h3"), { en: "Documents", zh: "文档" });
  const hint = say(element("p", { className: "hint", id: "documents-tick-hint", hidden: true }), {
    en: "Tick documents to ask only about these.",
    zh: "勾选后只针对所选文档提问。",
  });
  const empty = element("p", { className: "hint", role: "status", hidden: true });
  const search = say(element("label", { htmlFor: "documents-name" }), { en: "Search by name", zh: "按名称查找" });
  const wanted = element("input", { type: "search", id: "documents-name", maxLength: 255, oninput: searchSoon });
  const finder = element("div", { className: "finder", role: "search", hidden: true }, search, wanted);
  const list = element("ol", { className: "documents-list", role: "list" }); // Safari drops the role without markers
  const more = say(element("button", { type: "button", hidden: true, onclick: () => load(cursor) }), {
    en: "More documents",
    zh: "更多文档",
  });
  const trouble = element("div");
  const node = element("div", { className: "documents" }, heading, finder, hint, empty, list, more, trouble);

  /** @type {Map<string, ReturnType<typeof documentRow>>} */
  const rows = new Map();
  const following = follower(page, { onState: update, onGone: remove });
  /** @type {string | null} */
  let cursor = null;

  let name = ""; // a part of it is wanted in all names
  let timer = 0;
  let loading = 0;

  function searchSoon() {
    clearTimeout(timer);
    timer = setTimeout(() => {
      name = wanted.value.trim();
      load();
    }, TYPING_MILLISECONDS);
  }

  /** @param {string | null} [after] The cursor of the next page. */
  async function load(after = null) {
    more.disabled = true;
    const turn = (loading += 1);
    try {
      const query = new URLSearchParams({
        limit: String(PAGE_SIZE),
        ...(name && { name }),
        ...(after && { cursor: after }),
      });
      const { items, next_cursor } = await (await request(`documents?${query}`)).json();
      if (turn !== loading) return; // another search began
      trouble.replaceChildren();
      items.forEach(put);
      showMatches();
      // The oldest first: the order of their ingestion.
      for (const { id, status } of [...items].reverse()) if (status === "processing") following.follow(id);
      cursor = next_cursor;
      more.hidden = cursor === null;
      showWhetherEmpty();
      if (after) rows.get(items[0]?.id)?.focus(); // the button may have disappeared
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, () => load(after)));
    } finally {
      more.disabled = false;
    }
  }

  /** Hide the rows whose names do not match. They keep their ticks. */
  function showMatches() {
    for (const row of rows.values()) {
      row.node.hidden = !row.filename.toLowerCase().includes(name.toLowerCase());
    }
  }

  /** @param {Document} document Just uploaded, or uploaded before with the same content. */
  function add(document) {
    put(document);
    showMatches();
    showWhetherEmpty();
    if (document.status === "processing") following.follow(document.id);
  }

  /** @param {Document} document */
  function put(document) {
    const { id } = document;
    const known = rows.get(id);
    if (known) return known.show(document);
    const row = documentRow(page, document, {
      hintId: hint.id,
      onTicked: () => onTicked(ticked().length),
      onDeleted: () => remove(id),
    });
    // Ids grow with time. The other rows are not moved, so that they keep the focus and open dialogs.
    const older = [...rows.keys()].filter((other) => other < id).sort();
    list.insertBefore(row.node, rows.get(older.at(-1) ?? "")?.node ?? null);
    rows.set(id, row);
  }

  /** @param {Document} document */
  function update(document) {
    const { filename, status } = document;
    rows.get(document.id)?.show(document);
    if (status === "ready") announce({ en: `${filename} is ready.`, zh: `${filename} 已可提问。` });
    if (status === "failed") announce({ en: `${filename} could not be read.`, zh: `${filename} 无法读取。` });
  }

  /** @param {string} id */
  function remove(id) {
    const row = rows.get(id);
    if (!row) return;
    following.leave(id);
    rows.delete(id);
    const hadFocus = row.node.contains(document.activeElement);
    const neighbour = row.node.nextElementSibling ?? row.node.previousElementSibling;
    row.node.remove();
    showWhetherEmpty();
    onTicked(ticked().length);
    announce({ en: `${row.filename} was deleted.`, zh: `${row.filename} 已删除。` });
    if (!hadFocus) return;
    const next = [...rows.values()].find(({ node }) => node === neighbour);
    if (next) next.focus();
    else onLastRemoved();
  }

  function showWhetherEmpty() {
    const shown = [...rows.values()].filter(({ node }) => !node.hidden).length;
    finder.hidden = rows.size === 0 && name === "";
    hint.hidden = shown === 0;
    empty.hidden = shown > 0 || cursor !== null;
    say(
      empty,
      name === ""
        ? { en: "There are no documents yet.", zh: "还没有文档。" }
        : { en: "No document has this name.", zh: "没有名称匹配的文档。" },
    );
  }

  /** Ids of the ticked documents. */
  function ticked() {
    return [...rows].filter(([, row]) => row.isTicked()).map(([id]) => id);
  }

  return { node, load, add, ticked };
}
