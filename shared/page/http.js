import { element } from "./dom.js";
import { Problem } from "./problem.js";

/**
 * The credentials of requests: none, unless a later stage sets them with `identifyBy`.
 *
 * @typedef {object} Identity
 * @property {() => Promise<Record<string, string>>} headers Returns the headers of a request.
 * @property {(sent: Record<string, string>) => Promise<boolean>} renew Called with the headers of a request that got a
 *   401. Resolves to whether the headers have changed, so that the request should be repeated.
 */

/** @type {Identity} */
let identity = { headers: async () => ({}), renew: async () => false };

/** @param {Identity} other */
export function identifyBy(other) {
  identity = other;
}

/**
 * Send a request with the credentials, and repeat it if they were renewed. Every authenticated request, with `fetch` or
 * otherwise, goes through here.
 *
 * @template {{status: number}} Answer
 * @param {(headers: Record<string, string>) => Promise<Answer>} send
 * @returns {Promise<Answer>}
 */
export async function identified(send) {
  const headers = await identity.headers();
  const answer = await send(headers);
  const again = answer.status === 401 && (await identity.renew(headers));
  return again ? send(await identity.headers()) : answer;
}

/**
 * Call the API. All requests of the page go through here.
 *
 * @param {string} path Relative to the page, because the app may be served under a prefix.
 * @param {object} [options]
 * @param {string} [options.method]
 * @param {Record<string, string>} [options.headers]
 * @param {unknown} [options.body] Sent as JSON, or as a form if it is a `URLSearchParams`.
 * @param {AbortSignal} [options.signal]
 * @param {boolean} [options.anonymous] Whether to send no credentials.
 * @param {boolean} [options.keepalive] Whether to finish the request if the user leaves the page.
 * @returns {Promise<Response>} A successful response.
 * @throws {Problem} If the response is an error, or the server cannot be reached. An abort is rethrown unchanged.
 */
export async function request(path, options = {}) {
  const { method = "GET", body, signal, anonymous = false, keepalive = false } = options;
  let { headers = {} } = options;
  const isForm = body instanceof URLSearchParams; // the browser sets its content type
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
 * Save the response of a path as a file. A plain link would not send the credentials.
 *
 * @param {string} path
 * @param {string} filename
 * @throws {Problem} As `request` does.
 */
export async function download(path, filename) {
  const url = URL.createObjectURL(await (await request(path)).blob());
  element("a", { href: url, download: filename }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000); // the browser may not have started to read it yet
}
