/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("./run-view.js").Run} Run
 */

const MOST_EVENTS = 500;
const LONGEST_TEXT = 4000; // of one line

/**
 * The events that a run published, as long as they are kept: what it streamed to its clients. They are read when the
 * section is opened. Consecutive events with one name are one line.
 *
 * @param {Page} page
 * @param {Run} run
 * @param {AbortSignal} signal
 */
export function storedEvents({ element, say, streamEvents, problemNotice }, run, signal) {
  const list = element("ol", { className: "run-events", role: "list" });
  const hint = element("p", { className: "hint", role: "status" });
  const summary = say(element("summary"), { en: "Events that it sent to its clients", zh: "发给客户端的事件" });
  const node = element("details", { className: "run-part" }, summary, hint, list);
  node.addEventListener("toggle", () => node.open && list.childElementCount === 0 && load());

  async function load() {
    say(hint, { en: "Loading…", zh: "加载中……" });
    try {
      const { lines, isCut } = await read();
      list.replaceChildren(...lines.map(lineView));
      say(hint, isCut ? { en: `The first ${MOST_EVENTS} events.`, zh: `前 ${MOST_EVENTS} 个事件。` } : { en: "", zh: "" });
    } catch (error) {
      say(hint, { en: "", zh: "" });
      if (!signal.aborted) list.replaceChildren(problemNotice(error, load));
    }
  }

  async function read() {
    /** @type {{id: string, name: string, count: number, text: string}[]} */
    const lines = [];
    let count = 0;
    for await (const { id, event, data } of streamEvents(`threads/${run.thread_id}/runs/${run.run_id}/stream`, { signal })) {
      count += 1;
      if (count > MOST_EVENTS) return { lines, isCut: true };
      const last = lines.at(-1);
      const text = textOf(event, data);
      if (last?.name === event) Object.assign(last, { count: last.count + 1, text: cut(last.text + text) });
      else lines.push({ id, name: event, count: 1, text: cut(text) });
    }
    return { lines, isCut: false };
  }

  /** @param {{id: string, name: string, count: number, text: string}} line */
  function lineView({ id, name, count, text }) {
    const head = element("p", {}, element("code", {}, name), count > 1 ? ` × ${count} ` : " ");
    head.append(element("span", { className: "hint" }, id));
    return element("li", {}, head, element("pre", { tabIndex: 0 }, text));
  }

  return node;
}

/**
 * @param {string} event
 * @param {any} data
 */
function textOf(event, data) {
  const content = event.startsWith("messages") ? data?.[0]?.content : undefined;
  return typeof content === "string" && content !== "" ? content : `${JSON.stringify(data)}\n`;
}

/** @param {string} text */
function cut(text) {
  return text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}…` : text;
}
