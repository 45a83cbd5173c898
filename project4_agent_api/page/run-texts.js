/**
 * Texts of runs that several views show.
 *
 * @typedef {import("../../shared/page/language.js").Text} Text
 */

/** @type {Record<string, Text>} */
export const STATUSES = {
  pending: { en: "waiting for a worker", zh: "等待处理" },
  running: { en: "running", zh: "运行中" },
  success: { en: "finished", zh: "已完成" },
  waiting: { en: "waiting for you", zh: "等待你回答" },
  error: { en: "failed", zh: "失败" },
  timeout: { en: "took too long", zh: "超时" },
  interrupted: { en: "stopped", zh: "已停止" },
};

/**
 * @param {import("../../shared/page/page.js").Page} page
 * @param {{status: string, waiting: boolean}} run
 */
export function statusChip({ element, say }, { status, waiting }) {
  const shown = waiting ? "waiting" : status;
  const chip = say(element("span", { className: "run-status" }), STATUSES[shown]);
  chip.dataset.status = shown;
  return chip;
}

/**
 * @param {string} date
 * @returns {Text}
 */
export function dateText(date) {
  const options = /** @type {const} */ ({ dateStyle: "medium", timeStyle: "medium" });
  const moment = new Date(date);
  return { en: moment.toLocaleString("en", options), zh: moment.toLocaleString("zh", options) };
}

/**
 * @param {number} milliseconds
 * @returns {Text}
 */
export function durationText(milliseconds) {
  if (milliseconds < 1000) return both(`${Math.max(0, Math.round(milliseconds))} ms`);
  const seconds = milliseconds / 1000;
  if (seconds < 60) return { en: `${seconds.toFixed(1)} s`, zh: `${seconds.toFixed(1)} 秒` };
  const minutes = Math.floor(seconds / 60);
  const rest = Math.round(seconds % 60);
  return { en: `${minutes} min ${rest} s`, zh: `${minutes} 分 ${rest} 秒` };
}

/**
 * @typedef {{amount: number | null, currency: string, unpriced_models: string[]}} Cost As the service describes it.
 *
 * @param {Cost} cost
 * @returns {Text}
 */
export function costText({ amount, currency, unpriced_models: unpriced }) {
  if (amount === null) return { en: `no price for ${unpriced.join(", ")}`, zh: `${unpriced.join("、")} 没有价格` };
  const more = unpriced.length > 0 ? { en: ` + ${unpriced.join(", ")}`, zh: ` + ${unpriced.join("、")}` } : both("");
  const options = /** @type {const} */ ({ style: "currency", currency, maximumSignificantDigits: 3 });
  return { en: amount.toLocaleString("en", options) + more.en, zh: amount.toLocaleString("zh", options) + more.zh };
}

/**
 * @param {{input: number, output: number} | null} tokens
 * @returns {Text}
 */
export function tokensText(tokens) {
  if (!tokens) return both("");
  const { input, output } = tokens;
  return { en: `${input} + ${output} tokens`, zh: `${input} + ${output} 个 token` };
}

/**
 * @param {string} text The same in both languages.
 * @returns {Text}
 */
export function both(text) {
  return { en: text, zh: text };
}
