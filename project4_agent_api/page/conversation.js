import { messageView } from "./message-view.js";
import { hasMessages, messageOf, messagesInPieces } from "./messages.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("./messages.js").Message} Message
 * @typedef {import("./messages.js").Citation} Citation
 * @typedef {import("./tool-call.js").Phase} Phase
 */

/**
 * The content of a thread, updated while a run streams: messages, or JSON if the graph's state has none.
 *
 * @param {Page} page
 */
export function conversationView(page) {
  const { element, say } = page;
  const list = element("ol", { className: "messages", role: "list" }); // Safari drops the role without markers
  const steps = element("ol", { className: "steps", role: "list" });
  const state = element("pre", { hidden: true });
  // Announcing every token would overwhelm users of screen readers, so only the run's status is announced.
  const label = say(element("span", { id: "chat-log", hidden: true }), { en: "Conversation", zh: "对话" });
  const node = element("div", { className: "conversation-log", role: "log", ariaLive: "off", tabIndex: 0 });
  node.setAttribute("aria-labelledby", label.id);
  const welcome = say(element("p", { className: "hint welcome", hidden: true }), {
    en: "Choose an assistant, and write it a message.",
    zh: "请选择助手，然后写下消息。",
  });
  node.append(label, welcome, list, steps, state);

  const pieces = messagesInPieces();
  /** @type {Map<string, ReturnType<typeof messageView>>} */
  let views = new Map();
  /** @type {Message[]} */
  let stored = [];
  /** @type {Citation[]} */
  let citations = [];
  /** @type {Phase} */
  let phase = "over";
  /** @type {import("./message-view.js").Surroundings} */
  let surroundings = { answers: new Map(), citations: new Map(), phase };

  /** @param {any} values The complete state. */
  function setValues(values) {
    const isObject = typeof (values ?? {}) === "object" && !Array.isArray(values);
    const { __interrupt__, ...own } = (isObject && values) || {};
    const isConversation = hasMessages(own);
    stored = isConversation ? own.messages.map(messageOf) : [];
    citations = (isConversation && own.citations) || [];
    state.hidden = isConversation || (isObject && Object.keys(own).length === 0);
    state.textContent = JSON.stringify(isObject ? own : values, null, 2);
    show();
  }

  /** @param {string} text The user's message, shown until the run reports it. */
  function addQuestion(text) {
    stored = [...stored, messageOf({ id: "asked", type: "human", content: text })];
    show();
    node.scrollTop = node.scrollHeight;
  }

  /** @param {any} piece A chunk of a message. */
  function addPiece(piece) {
    const message = pieces.add(piece);
    const view = views.get(message.id);
    // A token changes one message, and a long thread has many.
    if (view && message.type === "ai") follow(() => view.show(message, surroundings));
    else show();
  }

  /** @param {Record<string, unknown>} update The output of nodes, by name. */
  function addStep(update) {
    if (stored.length > 0) return; // the messages show more
    for (const [name, written] of Object.entries(update)) {
      if (name === "__interrupt__") continue;
      const json = element("pre", {}, JSON.stringify(written, null, 2));
      follow(() => steps.append(element("li", {}, element("code", {}, name), json)));
    }
  }

  /** Discard streamed content that is not part of the state: the run has restarted or finished. */
  function forgetPieces() {
    pieces.forget();
    show();
  }

  /** @param {Phase} now */
  function setPhase(now) {
    phase = now;
    show();
  }

  function clearSteps() {
    steps.replaceChildren();
  }

  /** @param {{isNew: boolean}} thread Whether it has no content that would be shown next. */
  function clear({ isNew }) {
    welcome.hidden = !isNew;
    pieces.forget();
    clearSteps();
    setValues({});
  }

  function show() {
    const ids = new Set(stored.map(({ id }) => id));
    const all = [...stored, ...pieces.all().filter(({ id }) => !ids.has(id))];
    const answers = answersOf(all);
    const answering = new Set([...answers.values()].flat());
    const found = [...all.flatMap((message) => message.citations), ...citations];
    surroundings = { answers, citations: new Map(found.map((one) => [one.marker, one])), phase };
    // A tool's result is shown with its call.
    const shown = all.filter((message) => !answering.has(message) && isWorthShowing(message));
    follow(() => {
      views = new Map(shown.map(({ id }) => [id, views.get(id) ?? messageView(page)]));
      for (const message of shown) views.get(message.id)?.show(message, surroundings);
      const nodes = [...views.values()].map((view) => view.node);
      const isSame = nodes.length === list.children.length && nodes.every((one, place) => one === list.children[place]);
      if (!isSame) list.replaceChildren(...nodes);
      const last = nodes.at(-1);
      for (const one of nodes) {
        one.querySelector(".answer")?.setAttribute("aria-busy", String(phase === "running" && one === last));
      }
    });
  }

  /**
   * Change something, and stay at the end, if that is where the reader is. A long answer is read from its beginning, so
   * it does not push its question out of sight while it is written.
   *
   * @param {() => void} change
   */
  function follow(change) {
    const isAtEnd = node.scrollHeight - node.scrollTop - node.clientHeight < 48;
    change();
    if (isAtEnd) node.scrollTop = phase === "running" ? Math.min(node.scrollHeight, placeOfQuestion()) : node.scrollHeight;
  }

  function placeOfQuestion() {
    const question = [...list.querySelectorAll(":scope > .human")].at(-1);
    if (!question) return Infinity;
    return node.scrollTop + question.getBoundingClientRect().top - node.getBoundingClientRect().top;
  }

  return { node, setValues, addQuestion, addPiece, addStep, forgetPieces, setPhase, clearSteps, clear };
}

/**
 * Pair tool calls with their results, by their order: ids may be repeated on a thread.
 *
 * @param {Message[]} messages
 * @returns {Map<Message, (Message | undefined)[]>} By the message, the results of its calls.
 */
function answersOf(messages) {
  /** @type {Map<Message, (Message | undefined)[]>} */
  const answers = new Map();
  /** @type {Message | undefined} */
  let caller;
  for (const message of messages) {
    if (message.calls.length > 0) {
      caller = message;
      answers.set(message, Array.from({ length: message.calls.length }));
    } else if (message.type === "tool" && caller) {
      const results = answers.get(caller) ?? [];
      const place = caller.calls.findIndex(({ id }, at) => id === message.answers && !results[at]);
      if (place >= 0) results[place] = message;
    }
  }
  return answers;
}

/** @param {Message} message Empty until the model has produced its first token. */
function isWorthShowing({ text, reasoning, calls }) {
  return text !== "" || reasoning !== "" || calls.length > 0;
}
