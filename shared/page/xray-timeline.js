/**
 * @typedef {import("./page.js").Page} Page
 * @typedef {import("./language.js").Text} Text
 *
 * @typedef {object} Row
 * @property {string} span_id
 * @property {string | null} parent_id
 * @property {string} kind
 * @property {string} name
 * @property {number} started Unix time in seconds.
 * @property {number | null} duration_ms Null while it goes on.
 * @property {string} process
 * @property {"open" | "ok" | "error" | "lost"} status
 * @property {{path: string, line: number, function: string} | null} source
 * @property {string} url Of the source.
 * @property {Record<string, string | number>} details
 *
 * @typedef {object} Question
 * @property {string} id
 * @property {string} en
 * @property {string} zh
 * @property {string} en_url
 * @property {string} zh_url
 *
 * @typedef {object} Timeline
 * @property {Row[]} rows In the order in which they started.
 * @property {number} omitted
 * @property {Record<string, Question>} questions By kind of row.
 */

/** @type {Record<string, Text>} */
const KINDS = {
  request: { en: "request", zh: "请求" },
  middleware: { en: "middleware", zh: "中间件" },
  dependencies: { en: "dependencies", zh: "依赖解析" },
  dependency: { en: "dependency", zh: "依赖" },
  handler: { en: "handler", zh: "处理函数" },
  response: { en: "response model", zh: "响应模型" },
  background: { en: "after the response", zh: "响应之后" },
  pool: { en: "pool", zh: "连接池" },
  sql: { en: "SQL", zh: "SQL" },
  redis: { en: "Redis", zh: "Redis" },
  embedding: { en: "embedding", zh: "向量化" },
  model: { en: "model", zh: "模型" },
  tool: { en: "tool", zh: "工具" },
  node: { en: "graph node", zh: "图节点" },
  frame: { en: "stream frame", zh: "流的一帧" },
  queue: { en: "queue", zh: "入队" },
  wait: { en: "waiting", zh: "排队等待" },
  worker: { en: "worker", zh: "worker" },
  control: { en: "control", zh: "控制" },
};

/** @type {Record<Row["status"], Text>} */
const STATUSES = {
  open: { en: "goes on", zh: "进行中" },
  ok: { en: "", zh: "" },
  error: { en: "failed", zh: "失败" },
  lost: { en: "lost: its process died", zh: "已丢失：进程被终止" },
};

/**
 * The rows of one request.
 *
 * @param {Page} page
 */
export function timeline({ element, say }) {
  const list = element("ol", { className: "xray-rows", role: "list" });
  const omitted = element("p", { className: "hint", hidden: true });
  const node = element("div", { className: "xray-timeline" }, list, omitted);
  /** @type {Map<string, {text: string, item: HTMLLIElement}>} Kept while they are the same, so that an open one stays open. */
  let items = new Map();
  let isOver = true;

  /** @param {Timeline} shown */
  function show(shown) {
    const first = shown.rows[0].started;
    const last = Math.max(...shown.rows.map((row) => (row.started - first) * 1000 + (row.duration_ms ?? 0)), 1);
    const depths = depthsOf(shown.rows);
    const now = new Map();
    for (const row of shown.rows) {
      const text = JSON.stringify([row, last]);
      const known = items.get(row.span_id);
      const isOpen = known?.item.querySelector("details")?.open ?? false;
      const item = known?.text === text ? known.item : rowItem(row, { first, last, isOpen, shown });
      item.style.setProperty("--depth", String(Math.min(depths.get(row.span_id) ?? 0, 8)));
      now.set(row.span_id, { text, item });
    }
    items = now;
    isOver = shown.rows.every((row) => row.status !== "open");
    const wanted = [...now.values()].map(({ item }) => item);
    if (wanted.length !== list.children.length || wanted.some((item, at) => list.children[at] !== item)) {
      list.replaceChildren(...wanted);
    }
    omitted.hidden = shown.omitted === 0;
    say(omitted, {
      en: `${shown.omitted} more rows are not kept.`,
      zh: `还有 ${shown.omitted} 行没有保留。`,
    });
  }

  function clear() {
    items = new Map();
    isOver = true;
    list.replaceChildren();
    omitted.hidden = true;
  }

  /**
   * @param {Row} row
   * @param {{first: number, last: number, isOpen: boolean, shown: Timeline}} options
   */
  function rowItem(row, { first, last, isOpen, shown }) {
    const begins = (row.started - first) * 1000;
    const kind = say(element("span", { className: "xray-kind" }), KINDS[row.kind] ?? { en: row.kind, zh: row.kind });
    const status = say(element("span", { className: "xray-status" }), STATUSES[row.status]);
    const took = row.duration_ms === null ? "…" : `${row.duration_ms.toFixed(1)} ms`;
    const times = element("span", { className: "xray-times" }, `+${begins.toFixed(1)} ms`, " · ", took, " · ", row.process);
    const bar = element("span", { className: "xray-bar", ariaHidden: "true" });
    bar.style.setProperty("--start", `${(100 * begins) / last}%`);
    bar.style.setProperty("--length", `${(100 * (row.duration_ms ?? last - begins)) / last}%`);
    const name = element("span", { className: "xray-name" }, row.name);
    const summary = element("summary", {}, kind, " ", name, " ", status, times, bar);
    const details = element("details", { open: isOpen }, summary, facts(row), links(row, shown.questions[row.kind]));
    const item = element("li", {}, details);
    Object.assign(item.dataset, { kind: row.kind, status: row.status });
    return item;
  }

  /** @param {Row} row */
  function facts({ details }) {
    const parts = Object.entries(details).flatMap(([name, value]) => [
      element("dt", {}, name),
      element("dd", {}, String(value)),
    ]);
    return element("dl", { className: "facts" }, ...parts);
  }

  /**
   * @param {Row} row
   * @param {Question | undefined} question
   */
  function links({ source, url }, question) {
    const node = element("p", { className: "xray-links hint" });
    if (source) {
      const file = source.path.split("/").slice(-2).join("/");
      node.append(element("a", { href: url, className: "xray-source" }, `${source.function} (${file}:${source.line})`));
    }
    if (question) {
      const { id, en, zh } = question;
      for (const [language, text, href] of [["en", en, question.en_url], ["zh", zh, question.zh_url]]) {
        const answer = element("a", { href, className: "xray-question", lang: language, target: "_blank" });
        node.append(element("span", { className: `only-${language}` }, answer));
        answer.append(`${id} ${text}`);
      }
    }
    return node;
  }

  return { node, show, clear, goesOn: () => !isOver };
}

/**
 * Return how deep each row is nested.
 *
 * @param {Row[]} rows
 */
function depthsOf(rows) {
  /** @type {Map<string, number>} */
  const depths = new Map();
  for (const { span_id, parent_id } of rows) depths.set(span_id, (depths.get(parent_id ?? "") ?? -1) + 1);
  return depths;
}
