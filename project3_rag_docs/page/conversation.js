/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {{role: "user" | "assistant", content: string}} Message
 */

const MAX_MESSAGES = 20; // of the history, as the API takes them
const MAX_CHARACTERS = 20_000; // of each

/**
 * The answers to a question and those before it, to which it may refer. Earlier ones are folded.
 *
 * @param {Page} page
 */
export function conversation({ element, say }) {
  const earlier = element("ol", { className: "history earlier", role: "list" });
  const asked = element("p", { className: "asked" });
  const place = element("div");
  const again = say(element("button", { type: "button", onclick: clear }), {
    en: "New conversation",
    zh: "开始新对话",
  });
  const hint = say(element("span", { className: "hint" }), {
    en: "The next question may refer to these answers.",
    zh: "下一个问题可以接着前面的回答提问。",
  });
  const buttons = element("div", { className: "buttons", hidden: true }, again, hint);
  const node = element("section", { hidden: true }, earlier, asked, place, buttons);
  /** @type {Message[]} */
  let messages = [];
  /** @type {{question: string, answer: {node: HTMLElement, text: () => string}} | null} */
  let current = null;

  /**
   * Show a question, and return the view for its answer.
   *
   * @template {{node: HTMLElement, text: () => string}} View
   * @param {string} question
   * @param {View} answer
   * @returns {View}
   */
  function start(question, answer) {
    if (current) fold();
    current = { question, answer };
    asked.textContent = question;
    place.replaceChildren(answer.node);
    node.hidden = false;
    buttons.hidden = true;
    return answer;
  }

  /** Take the complete answer into the history. */
  function finish() {
    if (!current) return;
    messages.push({ role: "user", content: current.question });
    messages.push({ role: "assistant", content: [...current.answer.text()].slice(0, MAX_CHARACTERS).join("") });
    messages = messages.slice(-MAX_MESSAGES);
    buttons.hidden = false;
  }

  function fold() {
    if (!current?.answer.text()) return;
    const summary = element("summary", {}, element("span", { className: "question" }, current.question));
    earlier.append(element("li", {}, element("details", {}, summary, current.answer.node)));
  }

  function clear() {
    messages = [];
    current = null;
    earlier.replaceChildren();
    place.replaceChildren();
    node.hidden = true;
    document.getElementById("documents-question")?.focus();
  }

  return { node, start, finish, history: () => messages };
}
