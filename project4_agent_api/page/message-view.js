import { toolCallView } from "./tool-call.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("./messages.js").Message} Message
 * @typedef {import("./messages.js").Citation} Citation
 * @typedef {import("./tool-call.js").Phase} Phase
 *
 * @typedef {object} Surroundings What else is known when a message is shown.
 * @property {Map<Message, (Message | undefined)[]>} answers The results of tool calls, by the message that calls.
 * @property {Map<number, Citation>} citations By the number.
 * @property {Phase} phase
 */

/**
 * A message with its tool calls and the passages that it cites.
 *
 * @param {Page} page
 */
export function messageView(page) {
  const { element, say, reasoningView } = page;
  const who = element("span");
  const text = document.createTextNode("");
  const body = element("div", { className: "answer" }, text);
  const reasoning = reasoningView();
  const calls = element("div", { className: "tool-calls" });
  const sources = element("ol", { className: "sources", role: "list" }); // Safari drops the role without markers
  const node = element("li", {}, element("p", { className: "hint" }, who), body, calls, sources);
  /** @type {ReturnType<typeof toolCallView>[]} */
  const callViews = [];

  /**
   * @param {Message} message
   * @param {Surroundings} surroundings
   */
  function show(message, { answers, citations, phase }) {
    node.className = message.isSummary ? "summary" : message.type;
    say(who, message.isSummary ? SUMMARY : NAMES[message.type]);
    if (text.data !== message.text) text.data = message.text;
    body.hidden = message.text === "";
    reasoning.show(message.reasoning);
    if (message.reasoning !== "" && !reasoning.node.isConnected) body.before(reasoning.node);
    message.calls.forEach((call, place) => {
      callViews[place] ??= toolCallView(page);
      callViews[place].show(call, answers.get(message)?.[place], phase);
    });
    callViews.length = message.calls.length;
    if (calls.childElementCount !== callViews.length) calls.replaceChildren(...callViews.map((view) => view.node));
    if (message.type === "ai") showSources(message, citations);
  }

  /**
   * @param {Message} message
   * @param {Map<number, Citation>} citations
   */
  function showSources(message, citations) {
    const cited = [...message.text.matchAll(/\[(\d+)\]/g)].map(([, number]) => Number(number));
    const found = [...new Set(cited)].flatMap((number) => citations.get(number) ?? []);
    if (sources.childElementCount === found.length) return; // an answer only grows, so an equal count means no change
    sources.replaceChildren(...found.map(sourceOf));
  }

  /** @param {Citation} citation */
  function sourceOf({ marker, filename, page: number, quote }) {
    const where = element("strong", {}, `[${marker}] ${filename}`);
    if (number) where.append(" · ", say(element("span"), { en: `page ${number}`, zh: `第 ${number} 页` }));
    return element("li", {}, where, " ", element("q", {}, quote));
  }

  return { node, show };
}

const NAMES = {
  human: { en: "You", zh: "你" },
  ai: { en: "Assistant", zh: "助手" },
  tool: { en: "Tool", zh: "工具" },
  system: { en: "System", zh: "系统" },
};
const SUMMARY = { en: "Summary of the earlier conversation", zh: "之前对话的摘要" };
