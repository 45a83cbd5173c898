/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("./document-list.js").Document} Document
 */

const AT_ONCE = 2; // a browser opens six connections to a server, and the rest of the page needs some of them
const PAUSE_MILLISECONDS = 2000;

/**
 * Follow documents until their ingestion ends: a few at a time, in the order of the calls.
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
    const abort = new AbortController();
    followed.set(id, abort);
    try {
      await followToEnd(id, abort.signal);
    } finally {
      followed.delete(id);
      next();
    }
  }

  /**
   * @param {string} id
   * @param {AbortSignal} signal
   */
  async function followToEnd(id, signal) {
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
      // The connection was lost or the server is unavailable. Ingestion continues regardless, so reconnect.
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MILLISECONDS));
    }
  }

  return { follow, leave };
}
