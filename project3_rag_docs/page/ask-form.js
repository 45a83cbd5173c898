/** @typedef {import("../../shared/page/page.js").Page} Page */

const MAX_CHARACTERS = 4000; // as the API counts them: code points

/**
 * The form for a question.
 *
 * @param {Page} page
 * @param {{onAsk: (question: string) => void, onFind: (question: string) => void, onStop: () => void}} listeners
 */
export function questionForm({ element, say, field }, { onAsk, onFind, onStop }) {
  const question = field({
    id: "documents-question",
    control: element("textarea", { rows: 3, required: true }),
    label: { en: "Question about the documents", zh: "关于文档的问题" },
    check: ({ value }) => wrongQuestion(value),
  });
  const askButton = say(element("button", { type: "submit", className: "primary" }), {
    en: "Ask the documents",
    zh: "向文档提问",
  });
  const findButton = say(element("button", { type: "button", onclick: () => send(onFind) }), {
    en: "Find passages",
    zh: "查找段落",
  });
  const stopButton = say(element("button", { type: "button", hidden: true, onclick: onStop }), {
    en: "Stop",
    zh: "停止",
  });
  const shortcut = say(element("span", { className: "hint shortcut" }), {
    en: "Ctrl + Enter sends (⌘ + Enter on a Mac)",
    zh: "按 Ctrl + Enter 发送（Mac 上按 ⌘ + Enter）",
  });
  const scope = element("p", { className: "hint", role: "status" });
  const buttons = element("div", { className: "buttons" }, askButton, findButton, stopButton, shortcut);
  const node = element("form", { noValidate: true, className: "documents" }, question.node, scope, buttons);
  node.addEventListener("keydown", (event) => {
    const sends = event.key === "Enter" && (event.ctrlKey || event.metaKey);
    if (sends && !event.repeat && !event.isComposing) node.requestSubmit();
  });
  node.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!askButton.disabled) send(onAsk);
  });

  /** @param {(question: string) => void} listener */
  function send(listener) {
    if (question.validate()) listener(question.control.value);
    else question.control.focus();
  }

  /** @param {import("../../shared/page/language.js").Text} text What will be searched. */
  function showScope(text) {
    say(scope, text);
  }

  /** @param {string} asked The question that was answered; another one that was typed meanwhile stays. */
  function clear(asked) {
    if (question.control.value === asked) question.control.value = "";
  }

  /** @param {boolean} busy */
  function setBusy(busy) {
    // A button that disappears loses the focus: Ask and Stop here, "Try again" in a notice that was just removed.
    const disappearing = busy ? [askButton, document.body] : [stopButton];
    const focusIsLost = disappearing.some((element) => element === document.activeElement);
    askButton.disabled = findButton.disabled = busy;
    stopButton.hidden = !busy;
    if (focusIsLost) (busy ? stopButton : askButton).focus({ preventScroll: true });
  }

  return { node, showScope, clear, setBusy };
}

/** @param {string} value */
function wrongQuestion(value) {
  if (value.trim() === "") return { en: "Please write a question first.", zh: "请先写下问题。" };
  if ([...value].length <= MAX_CHARACTERS) return null;
  return { en: "Too long. The limit is 4,000 characters.", zh: "内容过长，最多 4,000 个字符。" };
}
