/** Errors of requests, and how they are shown. */

import { element } from "./dom.js";
import { say } from "./language.js";

/**
 * @typedef {import("./language.js").Text} Text
 *
 * @typedef {object} ProblemDetails RFC 9457, as the API fills it.
 * @property {string} [type]
 * @property {string} [title]
 * @property {number} [status]
 * @property {string} [detail]
 * @property {string} [request_id]
 * @property {{loc: (string | number)[], msg: string, type: string}[]} [errors] For 422: the validation errors.
 */

const UNREACHABLE = "urn:problem:unreachable";
const CUT = "urn:problem:connection-cut";

/** @type {Record<string, Text>} By type, otherwise by status. */
const SENTENCES = {
  [UNREACHABLE]: {
    en: "The server cannot be reached. Is it running, and are you online?",
    zh: "无法连接到服务器。请确认服务已经启动、网络正常。",
  },
  [CUT]: {
    en: "The connection was cut before the answer was complete.",
    zh: "连接中断，回答没有接收完整。",
  },
  401: { en: "You are not signed in, or your session has ended.", zh: "尚未登录，或登录已失效。" },
  403: { en: "Your account does not have permission to do this.", zh: "当前账号没有此权限。" },
  404: { en: "This does not exist, or was deleted.", zh: "内容不存在，或已被删除。" },
  413: { en: "The request is too large.", zh: "一次发送的内容太多了。" },
  415: { en: "This type of file is not supported.", zh: "不支持这种类型的文件。" },
  422: {
    en: "The request was not accepted. Please check what you entered.",
    zh: "请求未被接受，请检查填写的内容。",
  },
  429: { en: "Too many requests in a short time.", zh: "请求过于频繁，请稍候。" },
  503: { en: "The service cannot answer right now.", zh: "服务暂时无法回答。" },
  504: { en: "The answer took too long.", zh: "等待回答超时。" },
};
/** @type {Text} */
const ANYTHING_ELSE = { en: "Something went wrong.", zh: "出错了。" };

/** An error response, or a request without a response. */
export class Problem extends Error {
  /**
   * @param {ProblemDetails} details
   * @param {number} [retryAfter] Seconds until a retry makes sense.
   */
  constructor(details, retryAfter) {
    super(details.detail ?? details.title ?? "");
    this.name = "Problem";
    this.type = details.type ?? "about:blank";
    this.status = details.status ?? 0;
    this.requestId = details.request_id;
    this.errors = details.errors ?? [];
    this.retryAfter = retryAfter;
  }

  /**
   * Read the problem from a response. If it came from a proxy and is not a problem, use its status only.
   *
   * @param {Response} response
   */
  static async of(response) {
    const retryAfter = secondsUntil(response.headers.get("Retry-After"));
    const fallback = {
      title: `HTTP ${response.status} ${response.statusText}`.trim(),
      status: response.status,
      request_id: response.headers.get("X-Request-ID") ?? undefined,
    };
    const isProblem = response.headers.get("Content-Type")?.startsWith("application/problem+json");
    const details = isProblem ? await response.json().catch(() => null) : null;
    return new Problem({ ...fallback, ...details }, retryAfter);
  }

  /** No response: no network, no server, or one that refuses other origins. */
  static unreachable() {
    return new Problem({ type: UNREACHABLE });
  }

  /** An incomplete response. */
  static cut() {
    return new Problem({ type: CUT });
  }

  /** Whether the same request may succeed later. */
  get isTemporary() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

/**
 * Create a notice that explains an error.
 *
 * @param {unknown} error Anything but a `Problem` is a bug of the page.
 * @param {() => void} [retry] Offered if a retry makes sense, after the server's `Retry-After`.
 * @returns {HTMLElement}
 */
export function problemNotice(error, retry) {
  if (!(error instanceof Problem)) {
    reportError(error); // to the console, with its stack
    return notice(say(element("p", { role: "alert" }), ANYTHING_ELSE));
  }
  const sentence = SENTENCES[error.type] ?? SENTENCES[error.status] ?? ANYTHING_ELSE;
  /** @type {Node[]} */
  const parts = [say(element("p", { role: "alert" }), sentence), ...serverDetails(error)];
  if (retry && error.isTemporary) parts.push(retryButton(retry, error.retryAfter ?? 0));
  if (error.requestId) parts.push(requestIdLine(error.requestId));
  return notice(...parts);
}

/** @param {...Node} parts */
function notice(...parts) {
  return element("div", { className: "problem" }, ...parts);
}

/** @param {Problem} problem */
function serverDetails({ errors, message }) {
  const words = errors.length > 0 ? errors.map(({ loc, msg }) => `${loc.join(".")}: ${msg}`) : [message];
  return words.filter(Boolean).map((text) => element("p", { className: "detail", lang: "en" }, text));
}

/**
 * A button with a countdown until it is enabled. It is outside the alert, so that screen readers skip the countdown.
 *
 * @param {() => void} retry
 * @param {number} seconds
 */
function retryButton(retry, seconds) {
  const button = element("button", { type: "button", onclick: retry });
  const end = Date.now() + seconds * 1000; // a clock, not a counter: timers pause in background tabs
  const update = () => {
    const left = Math.ceil((end - Date.now()) / 1000);
    button.disabled = left > 0;
    say(button, left > 0 ? waiting(left) : { en: "Try again", zh: "重试" });
    if (left > 0) setTimeout(update, 250);
  };
  update();
  return button;
}

/** @param {number} seconds */
function waiting(seconds) {
  const minutes = Math.ceil(seconds / 60);
  return seconds <= 90
    ? { en: `Try again in ${seconds} s`, zh: `${seconds} 秒后可重试` }
    : { en: `Try again in ${minutes} min`, zh: `${minutes} 分钟后可重试` };
}

/** @param {string} id */
function requestIdLine(id) {
  const label = say(element("span"), { en: "Request ID", zh: "请求编号" });
  return element("p", { className: "request-id" }, label, " ", element("code", {}, id));
}

/** @param {string | null} retryAfter Seconds, or an HTTP date. */
function secondsUntil(retryAfter) {
  if (retryAfter === null) return undefined;
  const seconds = /^\d+$/.test(retryAfter) ? Number(retryAfter) : (Date.parse(retryAfter) - Date.now()) / 1000;
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds);
}
