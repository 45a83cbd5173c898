import { SILENCE } from "./format.js";
import { passageView } from "./passage.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 * @typedef {import("./passage.js").Source} Source
 *
 * @typedef {object} Done The last event of `POST documents/ask/stream`.
 * @property {{marker: number, quote: string}[]} citations One for each statement and marker. Empty if the documents contain no answer.
 * @property {string | null} model
 * @property {number} latency_ms
 */

/**
 * The streamed answer; its markers link to the passages below it.
 *
 * @param {Page} page
 */
export function answerView(page) {
  const { element, say, problemNotice, reasoningView } = page;
  const heading = element("h3");
  const reasoning = reasoningView();
  const body = element("div", { className: "answer" });
  // Announcing every token would overwhelm users of screen readers, so only the status is announced.
  const status = element("p", { className: "hint", role: "status" });
  const passagesHeading = say(element("h4", { className: "passages-heading", hidden: true }), {
    en: "Cited passages",
    zh: "引用的段落",
  });
  const list = element("ol", { className: "passages", role: "list" }); // Safari drops the role without markers
  const after = element("div", { className: "after" });
  const node = element("div", { className: "turn" }, heading, reasoning.node, body, status, passagesHeading, list, after);

  /** @type {Map<number, Source>} */
  let sources = new Map();
  /** @type {Map<number, ReturnType<typeof passageView>>} The cited passages, in the order of their first markers. */
  let passages = new Map();
  let held = ""; // an incomplete marker

  function start() {
    say(heading, ANSWER);
    sources = new Map();
    passages = new Map();
    held = "";
    reasoning.show("");
    reasoning.node.open = false;
    body.replaceChildren();
    body.hidden = true;
    body.ariaBusy = "true";
    node.classList.remove("unanswered");
    list.replaceChildren();
    passagesHeading.hidden = true;
    after.replaceChildren();
    say(status, { en: "Searching the documents…", zh: "正在检索文档……" });
  }

  /** @param {Source[]} found */
  function setSources(found) {
    sources = new Map(found.map((source) => [source.marker, source]));
    say(status, { en: "Waiting for the model…", zh: "正在等待模型……" });
  }

  /** @param {{text: string, replaces_tokens?: boolean}} piece Part of it may have arrived as the answer. */
  function appendReasoning(piece) {
    if (piece.replaces_tokens) {
      held = "";
      body.replaceChildren();
    }
    reasoning.append(piece.text);
    if (body.hidden) say(status, { en: "Thinking…", zh: "正在思考……" });
  }

  /** @param {string} piece */
  function append(piece) {
    if (body.hidden) {
      body.hidden = false;
      say(status, { en: "Writing…", zh: "正在生成……" });
    }
    const text = held + piece;
    const cut = text.search(/\[\d*$/);
    held = cut === -1 ? "" : text.slice(cut);
    write(cut === -1 ? text : text.slice(0, cut));
  }

  /** @param {string} text */
  function write(text) {
    // `split` returns text and numbers alternately.
    text.split(/\[(\d+)\]/).forEach((part, index) => {
      if (index % 2 === 0) body.append(part);
      else body.append(markerOf(Number(part)) ?? `[${part}]`);
    });
  }

  /** @param {number} marker */
  function markerOf(marker) {
    const source = sources.get(marker);
    if (!source) return null;
    const passage = passages.get(marker) ?? passageView(page, source);
    passages.set(marker, passage);
    const link = element("a", { href: `#${passage.id}`, className: "marker" }, `[${marker}]`);
    link.setAttribute("aria-describedby", passage.titleId);
    link.addEventListener("click", (event) => {
      event.preventDefault(); // the link would add an entry to the browser's history
      show(passage);
      passage.open(link);
    });
    return link;
  }

  /** @param {ReturnType<typeof passageView>} passage It can be opened while the answer is still streaming. */
  function show(passage) {
    if (passage.node.isConnected) return;
    passagesHeading.hidden = false;
    const all = [...passages.values()];
    const next = all.slice(all.indexOf(passage) + 1).find((later) => later.node.isConnected);
    list.insertBefore(passage.node, next?.node ?? null);
  }

  /**
   * @param {Done} done
   * @param {Text} searched What was searched.
   */
  function finish({ citations, model, latency_ms }, searched) {
    flush();
    for (const [marker, passage] of passages) {
      passage.mark(citations.filter((citation) => citation.marker === marker).map(({ quote }) => quote));
      show(passage);
    }
    const count = passages.size;
    if (citations.length > 0) {
      const cited = count === 1 ? "1 passage is cited." : `${count} passages are cited.`;
      end({ en: `Done. ${cited}`, zh: `回答完毕，引用了 ${count} 个段落。` });
    } else {
      node.classList.add("unanswered");
      say(heading, { en: "No answer in the documents", zh: "文档中没有答案" });
      end({ en: `Done. ${searched.en}`, zh: `检索完毕，${searched.zh}` });
    }
    const milliseconds = Math.round(latency_ms).toLocaleString("en");
    const about = say(element("span"), { en: `${milliseconds} ms`, zh: `${milliseconds} 毫秒` });
    after.append(element("p", { className: "hint" }, ...(model ? [model, " · "] : []), about));
  }

  function stop() {
    flush();
    end({ en: "Stopped. The answer is not complete.", zh: "已停止，回答不完整。" });
  }

  /**
   * @param {unknown} error
   * @param {() => void} retry
   */
  function fail(error, retry) {
    flush();
    end(SILENCE); // the notice is announced instead
    after.append(problemNotice(error, retry));
  }

  function flush() {
    write(held);
    held = "";
  }

  /** @param {Text} message */
  function end(message) {
    body.ariaBusy = "false";
    say(status, message);
  }

  return { node, start, setSources, appendReasoning, append, finish, stop, fail, text: () => body.textContent ?? "" };
}

/** @type {Text} */
const ANSWER = { en: "Answer from the documents", zh: "来自文档的回答" };
