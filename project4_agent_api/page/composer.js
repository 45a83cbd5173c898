/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 */

/**
 * The form for the input of a run: a message, or JSON for a graph with another input.
 *
 * @param {Page} page
 * @param {{onSend: (input: object, title: string) => void, onStop: () => void}} listeners
 */
export function composer({ element, say, field }, { onSend, onStop }) {
  let takesMessages = true;
  let isKnown = false; // whether the input of the chosen assistant is known
  let isAsked = false; // whether the run is waiting for a decision
  const message = field({
    id: "chat-message",
    control: element("textarea", { rows: 3, required: true }),
    label: { en: "Message", zh: "消息" },
    check: ({ value }) => (value.trim() === "" ? { en: "Please write a message first.", zh: "请先写下消息。" } : null),
  });
  const json = field({
    id: "chat-input",
    control: element("textarea", { rows: 5, required: true, spellcheck: false, className: "json" }),
    label: { en: "Input, as JSON", zh: "输入（JSON）" },
    check: ({ value }) => wrongJson(value),
  });
  const send = say(element("button", { type: "submit", className: "primary" }), { en: "Send", zh: "发送" });
  const stop = say(element("button", { type: "button", hidden: true, onclick: onStop }), { en: "Stop", zh: "停止" });
  // For a graph whose types do not describe its input.
  const other = element("button", { type: "button", onclick: () => take(!takesMessages) });
  const shortcut = say(element("span", { className: "hint shortcut" }), {
    en: "Ctrl + Enter sends (⌘ + Enter on a Mac)",
    zh: "按 Ctrl + Enter 发送（Mac 上按 ⌘ + Enter）",
  });
  const fields = element("div", {}, message.node, json.node);
  const node = element(
    "form",
    { noValidate: true, className: "composer", hidden: true },
    fields,
    element("div", { className: "buttons" }, send, stop, other, shortcut),
  );
  node.addEventListener("keydown", (event) => {
    const sends = event.key === "Enter" && (event.ctrlKey || event.metaKey);
    if (sends && !event.repeat && !event.isComposing) node.requestSubmit();
  });
  node.addEventListener("submit", (event) => {
    event.preventDefault();
    if (send.disabled) return;
    const { control, validate } = takesMessages ? message : json;
    if (!validate()) return control.focus();
    const text = control.value.trim();
    if (takesMessages) onSend({ messages: [{ role: "user", content: text }] }, text);
    else onSend(JSON.parse(text), text);
  });

  /** @param {Record<string, any> | null} schema The graph's input schema; null if it has none. */
  function setSchema(schema) {
    isKnown = true;
    const properties = schema?.properties ?? {};
    other.hidden = schema !== null;
    json.control.value = JSON.stringify(emptyValues(properties), null, 2);
    take(schema === null || "messages" in properties);
    showOrHide();
  }

  function showOrHide() {
    node.hidden = isAsked || !isKnown; // a message now would leave a tool call without a result, which models reject
  }

  /** @param {boolean} messages Whether the input is a message; otherwise JSON. */
  function take(messages) {
    takesMessages = messages;
    message.node.hidden = !messages;
    json.node.hidden = messages;
    say(other, messages ? { en: "Write JSON instead", zh: "改用 JSON" } : { en: "Write a message instead", zh: "改用消息" });
  }

  /** @param {{busy: boolean, asking: boolean}} state Whether a run is active; whether it waits for a decision. */
  function setState({ busy, asking }) {
    // A button that disappears loses the focus.
    const focusIsLost = [busy ? send : stop, document.body].some((one) => one === document.activeElement);
    send.disabled = busy;
    stop.hidden = !busy;
    isAsked = asking;
    showOrHide();
    const { control } = takesMessages ? message : json;
    if (focusIsLost && !asking) (busy ? stop : control).focus({ preventScroll: true });
  }

  return { node, setSchema, setState, clear: () => (message.control.value = "") };
}

/** @param {Record<string, {type?: string, default?: unknown}>} properties */
function emptyValues(properties) {
  /** @type {Record<string, unknown>} */
  const empty = { string: "", integer: 0, number: 0, boolean: false, array: [], object: {} };
  return Object.fromEntries(
    Object.entries(properties).map(([name, one]) => [name, one.default ?? empty[one.type ?? ""] ?? null]),
  );
}

/**
 * @param {string} value
 * @returns {Text | null}
 */
export function wrongJson(value) {
  try {
    const parsed = JSON.parse(value);
    if (typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)) return null;
  } catch {
    // Reported below.
  }
  return { en: 'Please enter a JSON object, such as {"a": 1}.', zh: '请填写 JSON 对象，例如 {"a": 1}。' };
}
