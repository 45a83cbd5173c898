/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 *
 * @typedef {object} Thread
 * @property {string} thread_id
 * @property {string} updated_at
 * @property {Record<string, any>} metadata
 * @property {{first: unknown}} [extracted]
 */

const PAGE_SIZE = 20;

/**
 * The list of threads, most recently used first.
 *
 * @param {Page} page
 * @param {{onNew: () => void, onDeleted: (id: string) => void}} listeners
 */
export function threadList(page, { onNew, onDeleted }) {
  const { element, say, request, Problem, problemNotice } = page;
  const newButton = say(element("button", { type: "button", onclick: onNew }), { en: "New thread", zh: "新对话" });
  const list = element("ol", { className: "threads", role: "list" }); // Safari drops the role without markers
  const empty = say(element("p", { className: "hint", hidden: true }), { en: "No threads yet.", zh: "还没有对话。" });
  const more = say(element("button", { type: "button", hidden: true, onclick: () => load(rows.size) }), {
    en: "More threads",
    zh: "更多对话",
  });
  const trouble = element("div");
  const heading = say(element("h3"), { en: "Threads", zh: "对话列表" });
  const fold = element("details", {}, element("summary", {}, heading), empty, list, more, trouble);
  newButton.addEventListener("click", unfoldWhereWide(fold));
  const node = element("div", { className: "thread-list" }, fold, newButton);

  /** @type {Map<string, {node: HTMLElement, link: HTMLAnchorElement}>} */
  let rows = new Map();
  let chosen = "";

  /** @param {number} [offset] Offset of the next page; without it, the list is reloaded. */
  async function load(offset = 0) {
    more.disabled = true;
    try {
      const body = {
        limit: PAGE_SIZE,
        offset,
        sort_by: "updated_at",
        select: ["thread_id", "updated_at", "metadata"],
        extract: { first: "values.messages[0].content" },
      };
      const response = await request("threads/search", { method: "POST", body });
      /** @type {Thread[]} */
      const found = await response.json();
      const read = new Map(found.map((thread) => [thread.thread_id, row(thread)]));
      rows = new Map([...(offset > 0 ? rows : []), ...read]);
      list.replaceChildren(...[...rows.values()].map((one) => one.node));
      more.hidden = response.headers.get("X-Pagination-Next") === null;
      empty.hidden = rows.size > 0;
      choose(chosen);
      trouble.replaceChildren();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, () => load(offset)));
    } finally {
      more.disabled = false;
    }
  }

  /** @param {Thread} thread */
  function row(thread) {
    const id = thread.thread_id;
    const title = titleOf(thread);
    const when = say(element("time", { className: "hint", dateTime: thread.updated_at }), {
      en: dateIn("en", thread.updated_at),
      zh: dateIn("zh", thread.updated_at),
    });
    const name = say(element("span", { className: "title", id: `chat-thread-${id}` }), title);
    const link = element("a", { className: "thread", href: `#/chat/${id}` }, name, when);
    const remove = say(element("button", { type: "button", onclick: askFirst }), { en: "Delete", zh: "删除" });
    remove.setAttribute("aria-describedby", name.id);

    const question = say(element("p", { id: `chat-delete-${id}` }), {
      en: `Delete “${title.en}”? This cannot be undone.`,
      zh: `确定删除“${title.zh}”吗？此操作无法撤销。`,
    });
    const keep = say(element("button", { type: "button", onclick: fold }), { en: "Cancel", zh: "取消" });
    const sure = say(element("button", { type: "button", className: "primary", onclick: deleteIt }), {
      en: "Delete permanently",
      zh: "确认删除",
    });
    const confirmation = element("div", { className: "problem", role: "group", hidden: true }, question);
    confirmation.setAttribute("aria-labelledby", question.id);
    confirmation.append(element("div", { className: "buttons" }, sure, keep));
    const trouble = element("div");
    const node = element("li", {}, element("div", { className: "head" }, link, remove), confirmation, trouble);

    function askFirst() {
      confirmation.hidden = false;
      keep.focus();
    }

    function fold() {
      confirmation.hidden = true;
      trouble.replaceChildren();
      remove.focus();
    }

    async function deleteIt() {
      try {
        await request(`threads/${id}`, { method: "DELETE" });
        gone();
      } catch (error) {
        // 404: it was deleted elsewhere, which is the desired result.
        if (error instanceof Problem && error.status === 404) gone();
        else trouble.replaceChildren(problemNotice(error, deleteIt));
      }
    }

    function gone() {
      rows.delete(id);
      node.remove();
      empty.hidden = rows.size > 0;
      newButton.focus();
      onDeleted(id);
    }

    return { node, link };
  }

  /** @param {string} id The thread that is open; "" for a new one. */
  function choose(id) {
    chosen = id;
    for (const [other, { link }] of rows) link.setAttribute("aria-current", other === id ? "page" : "false");
  }

  return { node, load, choose };
}

/**
 * Keep the list open beside the conversation, and closed above it, where it is opened to choose a thread.
 *
 * @param {HTMLDetailsElement} fold
 * @returns {() => void} Ends the user's choice.
 */
function unfoldWhereWide(fold) {
  const wide = matchMedia("(min-width: 52rem)"); // as in chat.css
  const summary = /** @type {HTMLElement} */ (fold.firstElementChild);
  const adapt = () => {
    fold.open = wide.matches;
    summary.tabIndex = wide.matches ? -1 : 0;
  };
  wide.addEventListener("change", adapt);
  fold.addEventListener("click", ({ target }) => target instanceof Element && target.closest("a") && adapt());
  adapt();
  return adapt;
}

/**
 * @param {Thread} thread
 * @returns {Text}
 */
function titleOf({ metadata, extracted }) {
  const title = [metadata.title, extracted?.first].find((one) => typeof one === "string" && one.trim() !== "");
  return title ? { en: title, zh: title } : { en: "Untitled", zh: "未命名" };
}

/**
 * @param {string} language
 * @param {string} date
 */
function dateIn(language, date) {
  return new Date(date).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
}
