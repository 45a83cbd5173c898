/**
 * Server-sent events over `fetch`. The browser's own `EventSource` can only GET, and reconnects by itself: a question
 * would have to go into the URL, and would be asked again.
 */

import { request } from "./http.js";
import { Problem } from "./problem.js";

/**
 * @typedef {object} ServerEvent
 * @property {string} event
 * @property {any} data Parsed from JSON.
 * @property {string} id Of the last event that had one. Sent as `Last-Event-ID`, it makes the server go on after it.
 */

/**
 * Read the events of an answer as they arrive: to a POST with a JSON body where there is one, else to a GET.
 *
 * @param {string} url
 * @param {{headers?: Record<string, string>, body?: unknown, signal?: AbortSignal}} options
 * @returns {AsyncGenerator<ServerEvent, void, void>} Ends when the server ends the answer; leave it early to hang up.
 * @throws {Problem} If the answer is not a success, or the connection is lost in the middle of it.
 */
export async function* streamEvents(url, { headers, body, signal }) {
  const response = await request(url, { method: body === undefined ? "GET" : "POST", headers, body, signal });
  if (response.body) yield* parseEvents(chunksOf(response.body, signal));
}

/**
 * Parse an event stream (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream),
 * without `retry`: how long to wait before reconnecting is for whoever reconnects to know.
 *
 * @param {AsyncIterable<Uint8Array>} chunks Cut anywhere.
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
  // An event without the blank line that ends it was cut off, and is no event.
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
  const decoder = new TextDecoder(); // keeps the first bytes of a character until the rest of it arrives
  let unfinished = "";
  let afterCarriageReturn = false;
  for await (const chunk of chunks) {
    let text = decoder.decode(chunk, { stream: true });
    if (text === "") continue;
    // A line ends at its CR at once, without waiting to see whether an LF follows; so that LF is dropped here.
    if (afterCarriageReturn && text.startsWith("\n")) text = text.slice(1);
    afterCarriageReturn = text.endsWith("\r");
    const lines = (unfinished + text).split(/\r\n|\n|\r/);
    unfinished = lines.pop() ?? "";
    yield* lines;
  }
}

/**
 * A stream's chunks. (Not every browser can iterate over a ReadableStream itself.)
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
    reader.cancel().catch(() => {}); // hangs up if there is more to come; a stream that failed has nothing to cancel
  }
}
