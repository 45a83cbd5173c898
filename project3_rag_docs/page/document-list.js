import { meets } from "./condition.js";
import { documentFilters } from "./document-filters.js";
import { documentRow } from "./document-row.js";
import { follower } from "./follow.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 * @typedef {import("./document-state.js").Document} Document
 */

const PAGE_SIZE = 10;

/**
 * The list of documents, newest first. Documents that are being ingested are followed.
 *
 * @param {Page} page
 * @param {object} options
 * @param {import("./collections.js").CollectionStore} options.collections
 * @param {() => void} options.onScope Called when other documents are to be searched: others are ticked or wanted.
 * @param {(text: Text) => void} options.announce
 */
export function documentList(page, { collections, onScope, announce }) {
  const { element, say, request, problemNotice } = page;
  const heading = say(element("h3"), { en: "Documents", zh: "文档" });
  const hint = say(element("p", { className: "hint", id: "documents-tick-hint", hidden: true }), {
    en: "Tick documents to ask only about these.",
    zh: "勾选后只针对所选文档提问。",
  });
  const empty = element("p", { className: "hint", role: "status", hidden: true });
  const filters = documentFilters(page, { collections, onChange: narrow });
  const list = element("ol", { className: "documents-list", role: "list" }); // Safari drops the role without markers
  const more = say(element("button", { type: "button", hidden: true, onclick: () => load(cursor) }), {
    en: "More documents",
    zh: "更多文档",
  });
  const trouble = element("div");
  const node = element("div", { className: "documents" }, heading, filters.node, hint, empty, list, more, trouble);

  /** @type {Map<string, ReturnType<typeof documentRow>>} */
  const rows = new Map();
  const following = follower(page, { onState: update, onGone: (id) => remove(id) });
  /** @type {string | null} */
  let cursor = null;
  let loading = 0;
  let isLoaded = false;
  collections.onChange(showMatches); // they may be known later than the documents

  function narrow() {
    load();
    onScope();
  }

  /** @param {string | null} [after] The cursor of the next page. */
  async function load(after = null) {
    more.disabled = true;
    const turn = (loading += 1);
    try {
      const { name, condition } = filters.wanted();
      const query = new URLSearchParams({
        limit: String(PAGE_SIZE),
        ...(name && { name }),
        ...(!isEmpty(condition) && { filter: JSON.stringify(condition) }),
        ...(after && { cursor: after }),
      });
      /** @type {{items: Document[], next_cursor: string | null}} */
      const { items, next_cursor } = await (await request(`documents?${query}`)).json();
      if (turn !== loading) return; // another search began
      isLoaded = true;
      trouble.replaceChildren();
      items.forEach(put);
      // The oldest first: the order of their ingestion.
      for (const { id, status } of [...items].reverse()) if (status === "processing") following.follow(id);
      cursor = next_cursor;
      more.hidden = cursor === null;
      showMatches();
      if (after) rows.get(items[0]?.id)?.focus(); // the button may have disappeared
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, () => load(after)));
    } finally {
      more.disabled = false;
    }
  }

  /** Hide the rows that are not wanted. They keep their ticks. */
  function showMatches() {
    const { name, condition } = filters.wanted();
    for (const row of rows.values()) {
      const document = row.document();
      const matches = document.filename.toLowerCase().includes(name.toLowerCase()) && meets(document, condition);
      row.node.hidden = !matches || (!condition.collection_ids && isForeign(document.collection_id));
    }
    showWhetherEmpty();
  }

  /**
   * Whether a document belongs to another user. Those are shown in their collections only.
   *
   * @param {string | null} collection
   */
  function isForeign(collection) {
    return (collections.named(collection)?.access ?? "owner") !== "owner";
  }

  /** @param {Document} document Just uploaded or changed, or uploaded before with the same content. */
  function add(document) {
    put(document);
    showMatches();
    if (document.status === "processing") following.follow(document.id);
  }

  /** @param {Document} document */
  function put(document) {
    const { id } = document;
    const known = rows.get(id);
    if (known) return known.show(document);
    const row = documentRow(page, document, { hintId: hint.id, onTicked: onScope });
    // Ids grow with time. The other rows are not moved, so that they keep the focus.
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
    const isWaiting = [...rows.values()].some((row) => row.document().status === "processing");
    if (status !== "processing" && isWaiting) load(); // the others have moved up
  }

  /** @param {string} id */
  function remove(id) {
    const row = rows.get(id);
    if (!row) return;
    const { filename } = row.document();
    following.leave(id);
    rows.delete(id);
    row.node.remove();
    showWhetherEmpty();
    onScope();
    announce({ en: `${filename} was deleted.`, zh: `${filename} 已删除。` });
  }

  function showWhetherEmpty() {
    const shown = [...rows.values()].filter(({ node }) => !node.hidden).length;
    const { name, condition } = filters.wanted();
    const isNarrowed = Boolean(name) || !isEmpty(condition);
    filters.node.hidden = rows.size === 0 && !isNarrowed && collections.all().length === 0;
    hint.hidden = shown === 0;
    empty.hidden = !isLoaded || shown > 0 || cursor !== null;
    const nothing = isNarrowed ? NO_MATCH : { en: "There are no documents yet.", zh: "还没有文档。" };
    say(empty, name && isEmpty(condition) ? { en: "No document has this name.", zh: "没有名称匹配的文档。" } : nothing);
  }

  /** Ids of the ticked documents. */
  function ticked() {
    return [...rows].filter(([, row]) => row.isTicked()).map(([id]) => id);
  }

  /**
   * Move the focus to a document, or to the heading if it is not shown.
   *
   * @param {string} id
   */
  function focus(id) {
    const row = rows.get(id);
    if (row && !row.node.hidden) return row.focus();
    heading.tabIndex = -1;
    heading.focus();
  }

  return { node, load, loadChoices: filters.loadChoices, add, remove, ticked, wanted: filters.wanted, focus };
}

/** @param {object} condition */
function isEmpty(condition) {
  return Object.keys(condition).length === 0;
}

/** @type {Text} */
const NO_MATCH = { en: "No document matches.", zh: "没有匹配的文档。" };
