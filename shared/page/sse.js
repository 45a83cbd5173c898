/**
 * Server-sent events over `fetch`. The browser's `EventSource` only supports GET, and reconnects by itself: a question
 * would have to be in the URL, and would be asked again.
 */

import { request } from "./http.js";
import { Problem } from "./problem.js";

/**
 * @typedef {object} ServerEvent
 * @property {string} event
 * @property {any} data Parsed from JSON.
 * @property {string} id Id of the last event that had one. As `Last-Event-ID` it makes the server continue after it.
 */

/**
 * Read the events of a response as they arrive. The request is a POST if there is a body, otherwise a GET.
 *
 * @param {string} url
 * @param {{headers?: Record<string, string>, body?: unknown, signal?: AbortSignal}} options
 * @returns {AsyncGenerator<ServerEvent, void, void>} Ends with the response; leaving it early closes the connection.
 * @throws {Problem} If the response is an error, or the connection is lost before its end.
 */
export async function* streamEvents(url, { headers, body, signal }) {
  const response = await request(url, { method: body === undefined ? "GET" : "POST", headers, body, signal });
  if (response.body) yield* parseEvents(chunksOf(response.body, signal));
}

/**
 * Parse an event stream (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream),
 * without `retry`: the caller decides when to reconnect.
 *
 * @param {AsyncIterable<Uint8Array>} chunks Split at any byte.
 * @returns {AsyncGenerator<ServerEvent, void, void>}
 */
export async function* parseEvents(chunks) {
  let event = "";
  let id = "";
  /** @type {string[]} */
  let data = [];
  for await (const line of linesOf(chunks)) {
    if (line === "") {
      if (data.length > 0) yield { event: event || "message", data: JSON.parse(data.join("\n")), id };
      event = "";
      data = [];
      continue;
    }
    const [field, value] = fieldOf(line);
    if (field === "event") event = value;
    if (field === "data") data.push(value);
    if (field === "id") id = value;
  }
  // An event without the final blank line is incomplete, and discarded.
}

/** @param {string} line */
function fieldOf(line) {
  const colon = line.indexOf(":");
  if (colon === -1) return [line, ""];
  const value = line.slice(colon + 1);
  return [line.slice(0, colon), value.startsWith(" ") ? value.slice(1) : value]; // a comment is a field without a name
}

/** @param {AsyncIterable<Uint8Array>} chunks */
async function* linesOf(chunks) {
  const decoder = new TextDecoder(); // keeps the first bytes of a character until the rest arrives
  let unfinished = "";
  let afterCarriageReturn = false;
  for await (const chunk of chunks) {
    let text = decoder.decode(chunk, { stream: true });
    if (text === "") continue;
    // A CR ends its line at once, without waiting for a possible LF, which is dropped here.
    if (afterCarriageReturn && text.startsWith("\n")) text = text.slice(1);
    afterCarriageReturn = text.endsWith("\r");
    const lines = (unfinished + text).split(/\r\n|\n|\r/);
    unfinished = lines.pop() ?? "";
    yield* lines;
  }
}

/**
 * Yield a stream's chunks. (Not every browser can iterate over a ReadableStream.)
 *
 * @param {ReadableStream<Uint8Array>} stream
 * @param {AbortSignal} [signal]
 */
async function* chunksOf(stream, signal) {
  const reader = stream.getReader();
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } catch (error) {
    if (signal?.aborted) throw error;
    throw Problem.cut();
  } finally {
    reader.cancel().catch(() => {}); // closes the connection if the stream has not ended; a failed stream rejects
  }
}
