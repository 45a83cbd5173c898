/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("./document-list.js").Document} Document
 */

const AT_ONCE = 2; // a browser opens six connections to a server, and the rest of the page needs some of them
const PAUSE_MILLISECONDS = 2000;

/**
 * Follows documents until they are read: some at a time, in the order in which they were given.
 *
 * @param {Page} page
 * @param {{onState: (document: Document) => void, onGone: (id: string) => void}} listeners
 */
export function follower({ streamEvents, Problem }, { onState, onGone }) {
  /** @type {string[]} */
  let waiting = [];
  /** @type {Map<string, AbortController>} */
  const followed = new Map();

  /** @param {string} id */
  function follow(id) {
    if (followed.has(id) || waiting.includes(id)) return;
    waiting.push(id);
    next();
  }

  /** @param {string} id */
  function leave(id) {
    waiting = waiting.filter((other) => other !== id);
    followed.get(id)?.abort();
  }

  function next() {
    while (followed.size < AT_ONCE && waiting.length > 0) start(/** @type {string} */ (waiting.shift()));
  }

  /** @param {string} id */
  async function start(id) {
    const leaving = new AbortController();
    followed.set(id, leaving);
    try {
      await toTheEnd(id, leaving.signal);
    } finally {
      followed.delete(id);
      next();
    }
  }

  /**
   * @param {string} id
   * @param {AbortSignal} signal
   */
  async function toTheEnd(id, signal) {
    while (!signal.aborted) {
      try {
        for await (const { event, data } of streamEvents(`documents/${id}/events`, { signal })) {
          if (event === "error") throw new Problem(data);
          onState(data);
          if (data.status !== "processing") return;
        }
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof Problem)) throw error;
        if (error.status === 404) return onGone(id);
      }
      // The connection broke, or the server is away. The document is read on all the same, so look again.
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MILLISECONDS));
    }
  }

  return { follow, leave };
}
