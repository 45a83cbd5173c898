import { element } from "./dom.js";
import { Problem } from "./problem.js";

/**
 * Who requests come from: nobody in particular, unless a later stage has put somebody here with `identifyBy`.
 *
 * @typedef {object} Identity
 * @property {() => Record<string, string>} headers What shows it, with every request.
 * @property {(sent: Record<string, string>) => Promise<boolean>} renew Called with the headers of a request that was
 *   answered with 401. Whether there are others now, so that it makes sense to send the request again.
 */

/** @type {Identity} */
let identity = { headers: () => ({}), renew: async () => false };

/** @param {Identity} other */
export function identifyBy(other) {
  identity = other;
}

/**
 * Send something with the headers that show who it is from; once more, if these had to be renewed. The one place that
 * knows of them: whatever is sent, with `fetch` or otherwise, is sent through here.
 *
 * @template {{status: number}} Answer
 * @param {(headers: Record<string, string>) => Promise<Answer>} send
 * @returns {Promise<Answer>}
 */
export async function identified(send) {
  const headers = identity.headers();
  const answer = await send(headers);
  const again = answer.status === 401 && (await identity.renew(headers));
  return again ? send(identity.headers()) : answer;
}

/**
 * Call the API. The one place from which requests leave.
 *
 * @param {string} path Relative to the page, because the app may be served under a prefix.
 * @param {object} [options]
 * @param {string} [options.method]
 * @param {Record<string, string>} [options.headers]
 * @param {unknown} [options.body] Sent as JSON; as a form, if it is a `URLSearchParams`.
 * @param {AbortSignal} [options.signal]
 * @param {boolean} [options.anonymous] Whether not to say who it is from.
 * @param {boolean} [options.keepalive] Whether it is sent also if the page is left meanwhile.
 * @returns {Promise<Response>} A successful one.
 * @throws {Problem} For every other answer, and for none. An abort is rethrown as it is.
 */
export async function request(path, options = {}) {
  const { method = "GET", body, signal, anonymous = false, keepalive = false } = options;
  let { headers = {} } = options;
  const isForm = body instanceof URLSearchParams; // whose type the browser sets
  if (body !== undefined && !isForm) headers = { "Content-Type": "application/json", ...headers };
  const sent = isForm ? body : JSON.stringify(body);
  /** @param {Record<string, string>} identifying */
  const send = async (identifying) => {
    try {
      return await fetch(path, { method, headers: { ...headers, ...identifying }, body: sent, signal, keepalive });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw Problem.unreachable();
    }
  };
  const response = await (anonymous ? send({}) : identified(send));
  if (!response.ok) throw await Problem.of(response);
  return response;
}

/**
 * Save what a path gives as a file. A plain link would not say who asks.
 *
 * @param {string} path
 * @param {string} filename
 * @throws {Problem} As `request` does.
 */
export async function download(path, filename) {
  const url = URL.createObjectURL(await (await request(path)).blob());
  element("a", { href: url, download: filename }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // not at once: the browser may not have begun to read it
}
