import { Problem } from "./problem.js";

/**
 * Call the API. The one place from which requests leave.
 *
 * @param {string} path Relative to the page, because the app may be served under a prefix.
 * @param {{method?: string, headers?: Record<string, string>, body?: unknown, signal?: AbortSignal}} [options]
 *   `body` is sent as JSON.
 * @returns {Promise<Response>} A successful one.
 * @throws {Problem} For every other answer, and for none. An abort is rethrown as it is.
 */
export async function request(path, { method = "GET", headers = {}, body, signal } = {}) {
  if (body !== undefined) headers = { "Content-Type": "application/json", ...headers };
  let response;
  try {
    response = await fetch(path, { method, headers, body: JSON.stringify(body), signal });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw Problem.unreachable();
  }
  if (!response.ok) throw await Problem.of(response);
  return response;
}
