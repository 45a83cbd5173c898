/** What the user stores, has waiting and has spent: amounts beside their limits, and the tokens of the last days. */

import { costText } from "./run-texts.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 *
 * @typedef {{used: number, maximum: number}} Held
 *
 * @typedef {object} ModelTotals
 * @property {number} calls
 * @property {{input: number, cached_input: number, output: number, total: number}} tokens
 * @property {import("./run-texts.js").Cost} cost
 */

export const title = { en: "Usage", zh: "用量" };

const MIB = 1024 * 1024;
/** @type {Record<string, Text>} */
const LIMITS = {
  user_storage_mb: { en: "Storage (MiB)", zh: "存储（MiB）" },
  user_runs_waiting_max: { en: "Waiting runs", zh: "等待的运行" },
  user_runs_deferred_max: { en: "Deferred runs", zh: "延后的运行" },
  user_runs_running_max: { en: "Runs at once", zh: "同时执行的运行" },
  user_crons_max: { en: "Schedules", zh: "定时任务" },
  user_api_keys_max: { en: "API keys", zh: "API 密钥" },
  user_webhooks_max: { en: "Due webhooks", zh: "待调用的 webhook" },
  user_documents_waiting_max: { en: "Waiting documents", zh: "等待处理的文档" },
};

/**
 * @param {HTMLElement} root
 * @param {Page} page
 */
export function mount(root, { element, say, request, problemNotice }) {
  const limits = element("ul", { className: "usage" });
  const spent = element("p");
  const days = element("table");
  const daily = element("details", {}, say(element("summary"), { en: "By day and model", zh: "按天和模型" }), scrolling(days));
  const refresh = say(element("button", { type: "button", onclick: load }), { en: "Refresh", zh: "刷新" });
  const trouble = element("div");
  root.append(limits, spent, daily, refresh, trouble);
  load();

  async function load() {
    trouble.replaceChildren();
    try {
      const [usage, models] = await Promise.all([request("auth/me/usage"), request("auth/me/usage/models")]);
      const held = await usage.json();
      limits.replaceChildren(...Object.entries(LIMITS).map(([name, text]) => limitItem(name, text, held[name])));
      showModels(await models.json());
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, load));
    }
  }

  /**
   * @param {string} name
   * @param {Text} text
   * @param {Held} held
   */
  function limitItem(name, text, { used, maximum }) {
    const isBytes = name === "user_storage_mb";
    const shown = isBytes ? `${(used / MIB).toFixed(1)} / ${maximum / MIB}` : `${used} / ${maximum}`;
    const meter = element("meter", { max: maximum, high: maximum * 0.8, value: used, id: `usage-${name}` });
    const label = say(element("label", { htmlFor: meter.id }), text);
    return element("li", {}, label, meter, element("span", { className: "hint" }, shown));
  }

  /** @param {{total: ModelTotals, days: (ModelTotals & {day: string, model: string})[]}} models */
  function showModels({ total, days: found }) {
    const none = { en: "No model has been called yet.", zh: "还没有调用过模型。" };
    say(spent, total.calls === 0 ? none : totalText(total));
    daily.hidden = found.length === 0;
    const names = [
      { en: "Day (UTC)", zh: "日期（UTC）" },
      { en: "Model", zh: "模型" },
      { en: "Calls", zh: "调用" },
      { en: "Tokens in", zh: "输入 token" },
      { en: "Tokens out", zh: "输出 token" },
      { en: "Cost", zh: "费用" },
    ];
    const head = element("tr", {}, ...names.map((name) => say(element("th", { scope: "col" }), name)));
    const rows = found.map(({ day, model, calls, tokens, cost }) => {
      const cells = [day, model, ...[calls, tokens.input, tokens.output].map(String)];
      const price = cost.amount === null ? element("td", {}, "–") : say(element("td"), costText(cost));
      return element("tr", {}, ...cells.map((cell) => element("td", {}, cell)), price);
    });
    days.replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
  }

  /** @param {Node} table A table wider than a phone scrolls by itself. */
  function scrolling(table) {
    return element("div", { className: "usage-days" }, table);
  }
}

/**
 * @param {ModelTotals} total
 * @returns {Text}
 */
function totalText({ calls, tokens, cost }) {
  const price = costText(cost);
  return {
    en: `Model calls so far: ${calls}, with ${tokens.total} tokens; cost: ${price.en}.`,
    zh: `模型累计调用 ${calls} 次，${tokens.total} 个 token；费用：${price.zh}。`,
  };
}
