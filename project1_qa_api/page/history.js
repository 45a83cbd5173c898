/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 *
 * @typedef {object} Exchange
 * @property {string} id
 * @property {string} question
 * @property {string} answer
 * @property {string} model
 * @property {string} created_at
 */

/**
 * The last exchanges, newest first.
 *
 * @param {Page} page
 */
export function historyList({ element, say, request, problemNotice }) {
  const heading = say(element("h3"), { en: "Recent questions", zh: "最近的提问" });
  const list = element("ol", { className: "history", role: "list" }); // Safari ignores the role of a list without markers
  const empty = say(element("p", { className: "hint", hidden: true }), {
    en: "Nothing yet. Your questions and their answers will appear here.",
    zh: "还没有记录。你的问题和回答会显示在这里。",
  });
  const trouble = element("div");
  const node = element("section", {}, heading, empty, list, trouble);
  /** @type {Map<string, HTMLElement>} */
  let shown = new Map();

  async function load() {
    try {
      const response = await request("ask/history");
      show((await response.json()).items);
      trouble.replaceChildren();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, load));
    }
  }

  /**
   * The server adds an exchange after it has sent the answer, so the first request may be too early.
   *
   * @param {string} id
   */
  async function loadUntilShown(id) {
    for (const milliseconds of [100, 1000]) {
      await new Promise((resolve) => setTimeout(resolve, milliseconds));
      await load();
      if (shown.has(id)) return;
    }
  }

  /** @param {Exchange[]} exchanges */
  function show(exchanges) {
    // An exchange never changes, so its row is kept, and stays open if the user has opened it.
    shown = new Map(exchanges.map((exchange) => [exchange.id, shown.get(exchange.id) ?? row(exchange)]));
    list.replaceChildren(...shown.values());
    empty.hidden = exchanges.length > 0;
  }

  /** @param {Exchange} exchange */
  function row({ question, answer, model, created_at }) {
    const when = element("time", { dateTime: created_at });
    say(when, { en: dateIn("en", created_at), zh: dateIn("zh", created_at) });
    return element(
      "li",
      {},
      element(
        "details",
        {},
        element("summary", {}, element("span", { className: "question" }, question)),
        element("div", { className: "answer" }, answer),
        element("p", { className: "hint" }, model, " · ", when),
      ),
    );
  }

  return { node, load, loadUntilShown };
}

/**
 * @param {string} language
 * @param {string} date
 */
function dateIn(language, date) {
  return new Date(date).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
}
