/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 *
 * @typedef {object} AskRequest The body of `POST ask/stream`, without empty fields.
 * @property {string} question
 * @property {string} [system]
 * @property {number} [temperature]
 * @property {number} [max_tokens]
 */

const MAX_CHARACTERS = 4000; // code points, as in the API; `length` and `maxlength` count UTF-16 units

/**
 * The form: a question, and collapsed options.
 *
 * @param {Page} page
 * @param {{onAsk: (request: AskRequest) => void, onStop: () => void}} listeners
 */
export function questionForm({ element, say, field }, { onAsk, onStop }) {
  const question = field({
    id: "ask-question",
    control: element("textarea", { rows: 4, required: true }),
    label: { en: "Your question", zh: "你的问题" },
    check: ({ value }) => blank(value) ?? tooLong(value),
  });
  const system = field({
    id: "ask-system",
    control: element("textarea", { rows: 2 }),
    label: { en: "System prompt", zh: "系统提示词" },
    hint: { en: "Instructions for the model.", zh: "在问题之前告诉模型的话。" },
    check: ({ value }) => tooLong(value),
  });
  const temperature = field({
    id: "ask-temperature",
    control: element("input", { type: "number", min: "0", max: "2", step: "any", inputMode: "decimal" }),
    label: { en: "Temperature", zh: "温度" },
    hint: { en: "0 to 2. Lower values are more predictable.", zh: "0 到 2，越低越稳定。" },
    check: ({ validity }) => (validity.valid ? null : { en: "A number from 0 to 2.", zh: "请填写 0 到 2 之间的数字。" }),
  });
  const maxTokens = field({
    id: "ask-max-tokens",
    control: element("input", { type: "number", min: "1", max: "100000", step: "1", inputMode: "numeric" }),
    label: { en: "Maximum length", zh: "回答长度上限" },
    hint: { en: "In tokens.", zh: "以 token 计。" },
    check: ({ validity }) =>
      validity.valid ? null : { en: "A whole number from 1 to 100,000.", zh: "请填写 1 到 100,000 之间的整数。" },
  });
  const fields = [question, system, temperature, maxTokens];

  const options = element(
    "details",
    {},
    say(element("summary"), { en: "Options", zh: "选项" }),
    element("div", { className: "columns" }, system.node, temperature.node, maxTokens.node),
  );
  const askButton = say(element("button", { type: "submit", className: "primary" }), { en: "Ask", zh: "提问" });
  const stopButton = say(element("button", { type: "button", hidden: true, onclick: onStop }), {
    en: "Stop",
    zh: "停止",
  });
  const shortcut = say(element("span", { className: "hint shortcut" }), {
    en: "Ctrl + Enter sends (⌘ + Enter on a Mac)",
    zh: "按 Ctrl + Enter 发送（Mac 上按 ⌘ + Enter）",
  });

  const node = element(
    "form",
    { noValidate: true }, // the browser's messages are in the browser's language, not the page's
    question.node,
    counterOf(question.control),
    options,
    element("div", { className: "buttons" }, askButton, stopButton, shortcut),
  );
  node.addEventListener("keydown", (event) => {
    const sends = event.key === "Enter" && (event.ctrlKey || event.metaKey);
    if (sends && !event.repeat && !event.isComposing) node.requestSubmit();
  });
  node.addEventListener("submit", (event) => {
    event.preventDefault();
    const wrong = fields.filter((field) => !field.validate());
    if (wrong.length === 0) return onAsk(request());
    options.open ||= wrong.some((field) => field !== question);
    wrong[0].control.focus();
  });

  /** @returns {AskRequest} */
  function request() {
    return {
      question: question.control.value,
      ...(system.control.value && { system: system.control.value }),
      ...(temperature.control.value && { temperature: temperature.control.valueAsNumber }),
      ...(maxTokens.control.value && { max_tokens: maxTokens.control.valueAsNumber }),
    };
  }

  /** @param {boolean} busy */
  function setBusy(busy) {
    // A button that disappears loses the focus: Ask or Stop here, or "Try again" in a notice.
    const losers = busy ? [askButton, document.body] : [stopButton];
    const focusIsLost = losers.some((element) => element === document.activeElement);
    askButton.disabled = busy;
    stopButton.hidden = !busy;
    if (focusIsLost) (busy ? stopButton : askButton).focus({ preventScroll: true });
  }

  /** @param {HTMLTextAreaElement} control */
  function counterOf(control) {
    const counter = element("p", { className: "hint counter" });
    const update = () => {
      const count = characters(control.value);
      counter.classList.toggle("over", count > MAX_CHARACTERS);
      counter.textContent = `${count.toLocaleString("en")} / ${MAX_CHARACTERS.toLocaleString("en")}`;
    };
    control.addEventListener("input", update);
    update();
    return counter;
  }

  return { node, setBusy };
}

/** @param {string} value */
function blank(value) {
  return value.trim() === "" ? { en: "Please write a question first.", zh: "请先写下问题。" } : null;
}

/** @param {string} value */
function tooLong(value) {
  const tooMany = characters(value) - MAX_CHARACTERS;
  if (tooMany <= 0) return null;
  const count = tooMany.toLocaleString("en");
  return { en: `Too long by ${count}. The limit is 4,000 characters.`, zh: `超出 ${count} 个字符，最多 4,000 个。` };
}

/** @param {string} text */
function characters(text) {
  return [...text].length;
}
