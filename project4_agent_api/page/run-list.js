import { STATUSES, both, costText, dateText, durationText, statusChip, tokensText } from "./run-texts.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 *
 * @typedef {object} RunListed
 * @property {string} run_id
 * @property {string} thread_id
 * @property {string} assistant_id
 * @property {string | null} graph_id
 * @property {string} status
 * @property {string | null} title
 * @property {number} attempt
 * @property {string} created_at
 * @property {string | null} started_at
 * @property {string} updated_at
 * @property {boolean} waiting Whether it ended with a question to the user.
 * @property {{input: number, cached_input: number, output: number, total: number} | null} tokens
 * @property {import("./run-texts.js").Cost | null} cost
 */

const PAGE_SIZE = 20;

/**
 * The user's runs, newest first, of a status and an assistant.
 *
 * @param {Page} page
 */
export function runList(page) {
  const { element, say, request, problemNotice } = page;
  const about = say(element("p", { className: "hint" }), {
    en: "Everything that your assistants did: in this chat, through the API, by schedules and with other protocols. Open a run to see its steps.",
    zh: "助手执行过的每一次运行：来自对话、接口、定时任务或其他协议。打开一次运行，查看它的每一步。",
  });
  const status = element("select", { id: "runs-status", onchange: () => load() }, option("", { en: "all", zh: "全部" }));
  const stored = Object.entries(STATUSES).filter(([name]) => name !== "waiting");
  status.append(...stored.map(([name, text]) => option(name, text)));
  const assistant = element("select", { id: "runs-assistant", onchange: () => load() });
  assistant.append(option("", { en: "all", zh: "全部" }));
  const filters = element(
    "div",
    { className: "run-filters" },
    labelled(status, { en: "Status", zh: "状态" }),
    labelled(assistant, { en: "Assistant", zh: "助手" }),
    say(element("button", { type: "button", onclick: () => load() }), { en: "Refresh", zh: "刷新" }),
  );
  const list = element("ol", { className: "run-list", role: "list" }); // Safari drops the role without markers
  const empty = say(element("p", { className: "hint", hidden: true }), { en: "No runs.", zh: "没有运行。" });
  const more = say(element("button", { type: "button", hidden: true }), { en: "More runs", zh: "更多" });
  more.onclick = () => load(next);
  const trouble = element("div");
  const node = element("div", { className: "run-overview" }, about, filters, empty, list, more, trouble);
  /** @type {Map<string, HTMLElement>} By the run's id: a page may repeat some, because new runs come first. */
  let rows = new Map();
  let next = 0;
  let asked = 0;
  let hasAssistants = false;

  /** @param {number} [offset] Of the next page; without it, the list is reloaded. */
  async function load(offset = 0) {
    const mine = ++asked;
    const query = new URLSearchParams({ limit: String(PAGE_SIZE), offset: String(offset) });
    if (status.value) query.set("status", status.value);
    if (assistant.value) query.set("assistant_id", assistant.value);
    try {
      const [response] = await Promise.all([request(`runs?${query}`), loadAssistants()]);
      /** @type {RunListed[]} */
      const found = await response.json();
      if (mine !== asked) return; // another filter was chosen meanwhile
      if (offset === 0) rows = new Map();
      for (const run of found) rows.set(run.run_id, row(run));
      list.replaceChildren(...rows.values());
      const following = response.headers.get("X-Pagination-Next");
      next = Number(following);
      more.hidden = following === null;
      empty.hidden = rows.size > 0;
      trouble.replaceChildren();
    } catch (error) {
      if (mine === asked) trouble.replaceChildren(problemNotice(error, () => load(offset)));
    }
  }

  async function loadAssistants() {
    if (hasAssistants) return;
    const body = { limit: 100, sort_by: "name", sort_order: "asc" };
    const found = await (await request("assistants/search", { method: "POST", body })).json();
    if (hasAssistants) return;
    hasAssistants = true;
    for (const { assistant_id, name } of found) assistant.append(option(assistant_id, both(name)));
  }

  /** @param {RunListed} run */
  function row(run) {
    const { run_id, title, graph_id, status, attempt, created_at, started_at, updated_at, tokens, cost } = run;
    const name = element("span", { className: "title" }, title ?? graph_id ?? run_id);
    const chip = statusChip(page, run);
    const when = say(element("time", { dateTime: created_at }), dateText(created_at));
    const facts = element("span", { className: "hint" }, graph_id ?? "", " · ", when);
    const isOver = status !== "pending" && status !== "running";
    if (isOver && started_at) {
      facts.append(" · ", say(element("span"), durationText(Date.parse(updated_at) - Date.parse(started_at))));
    }
    if (attempt > 1) {
      facts.append(" · ", say(element("span"), { en: `attempt ${attempt}`, zh: `第 ${attempt} 次尝试` }));
    }
    if (tokens) facts.append(" · ", say(element("span"), tokensText(tokens)));
    if (cost && cost.amount !== null) facts.append(" · ", say(element("span"), costText(cost)));
    const item = element("li", {}, element("a", { href: `#/runs/${run_id}` }, name, chip, facts));
    if (run.waiting) item.append(answerLink(run.thread_id));
    return item;
  }

  /** @param {string} threadId */
  function answerLink(threadId) {
    return say(element("a", { className: "run-answer", href: `#/chat/${threadId}` }), { en: "Answer", zh: "去回答" });
  }

  /**
   * @param {string} value
   * @param {import("../../shared/page/language.js").Text} text
   */
  function option(value, text) {
    return say(element("option", { value }), text);
  }

  /**
   * @param {HTMLSelectElement} select
   * @param {import("../../shared/page/language.js").Text} text
   */
  function labelled(select, text) {
    return element("div", { className: "field" }, say(element("label", { htmlFor: select.id }), text), select);
  }

  return { node, load };
}
