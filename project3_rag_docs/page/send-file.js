/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 */

/**
 * Upload a file. Uses XMLHttpRequest, because `fetch` does not report the progress of an upload.
 *
 * @param {Page} page
 * @param {File} file
 * @param {object} options
 * @param {string} [options.path] Where to; the default is a new document.
 * @param {Record<string, string>} [options.fields] Further fields of the form.
 * @param {AbortSignal} [options.signal]
 * @param {(share: number) => void} options.onProgress
 * @returns {Promise<{stored: any, isNew: boolean}>} `isNew` is false if the content was uploaded before.
 * @throws {import("../../shared/page/problem.js").Problem} Like `request`; rejects on abort, too.
 */
export async function sendFile({ Problem, identified }, file, { path = "documents", fields = {}, ...options }) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  form.append("file", file);
  const finished = await identified((headers) => send(path, form, { Problem, headers, ...options }));
  const { status, responseText } = finished;
  if (status !== 200 && status !== 202) throw await Problem.of(responseOf(finished));
  return { stored: JSON.parse(responseText), isNew: status === 202 };
}

/**
 * @param {string} path
 * @param {FormData} form
 * @param {Pick<Page, "Problem"> & {headers: Record<string, string>, signal?: AbortSignal, onProgress: (share: number) =>
 *   void}} options
 * @returns {Promise<XMLHttpRequest>}
 */
function send(path, form, { Problem, headers, signal, onProgress }) {
  const sending = new XMLHttpRequest();
  sending.open("POST", path); // relative to the page, because the app may be served under a prefix
  for (const [name, value] of Object.entries(headers)) sending.setRequestHeader(name, value);
  return new Promise((resolve, reject) => {
    sending.upload.onprogress = ({ loaded, total }) => onProgress(total > 0 ? loaded / total : 0);
    sending.onload = () => resolve(sending);
    sending.onerror = () => reject(Problem.unreachable());
    sending.onabort = () => reject(signal?.reason);
    signal?.addEventListener("abort", () => sending.abort());
    sending.send(form);
  });
}

/**
 * Convert a finished request to the response of `fetch`.
 *
 * @param {XMLHttpRequest} finished
 */
function responseOf(finished) {
  const headers = new Headers();
  for (const name of ["Content-Type", "Retry-After", "X-Request-ID"]) {
    const value = finished.getResponseHeader(name);
    if (value !== null) headers.set(name, value);
  }
  const { status, statusText, responseText } = finished;
  return new Response(responseText || null, { status, statusText, headers });
}
