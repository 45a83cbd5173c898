/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 *
 * @typedef {object} Message
 * @property {string} id
 * @property {"user" | "assistant"} role
 * @property {string} content
 * @property {string} created_at
 */

const MAX_CHARACTERS = 4000; // code points, as in the API

/**
 * A user's messages, oldest first, and a form for a new one.
 *
 * @param {Page} page
 * @param {string} userId
 */
export function conversationView({ element, say, field, request, Problem, problemNotice }, userId) {
  const path = `users/${userId}/messages`;
  const earlier = say(element("button", { type: "button", hidden: true, onclick: load }), {
    en: "Earlier messages",
    zh: "更早的消息",
  });
  const trouble = element("div");
  // Two lists, because screen readers should announce new messages, but not loaded pages of old ones.
  const older = element("ol", { className: "messages", role: "list" });
  const fresh = element("ol", { className: "messages", role: "list" });
  const log = element("div", { role: "log", ariaLive: "polite" }, fresh);
  const status = element("p", { className: "hint", role: "status" });
  const unsent = element("div");

  const message = field({
    id: "users-message",
    control: element("textarea", { rows: 3, required: true }),
    label: { en: "Message", zh: "消息" },
    check: ({ value }) => wrongMessage(value),
  });
  const send = say(element("button", { type: "submit", className: "primary" }), { en: "Send", zh: "发送" });
  const shortcut = say(element("span", { className: "hint shortcut" }), {
    en: "Ctrl + Enter sends (⌘ + Enter on a Mac)",
    zh: "按 Ctrl + Enter 发送（Mac 上按 ⌘ + Enter）",
  });
  const buttons = element("div", { className: "buttons" }, send, shortcut);
  // Hidden until the messages have loaded: a message sent before would be loaded too, and shown twice.
  const form = element("form", { noValidate: true, hidden: true }, message.node, buttons);
  form.addEventListener("keydown", (event) => {
    const sends = event.key === "Enter" && (event.ctrlKey || event.metaKey);
    if (sends && !event.repeat && !event.isComposing) form.requestSubmit();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (send.disabled) return;
    if (message.validate()) ask(message.control.value);
    else message.control.focus();
  });
  const node = element("div", { className: "conversation" }, earlier, trouble, older, log, status, unsent, form);

  /** @type {string | null} */
  let cursor = null;

  async function load() {
    const query = new URLSearchParams({ limit: "20", ...(cursor && { cursor }) });
    earlier.disabled = true;
    try {
      const { items, next_cursor } = await (await request(`${path}?${query}`)).json();
      older.prepend(...items.map(item).reverse());
      const first = older.querySelector("li");
      if (cursor && first) focusOn(first);
      else if (!first) say(status, { en: "No messages yet.", zh: "还没有消息。" });
      cursor = next_cursor;
      earlier.hidden = cursor === null;
      form.hidden = false;
      trouble.replaceChildren();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, load));
    } finally {
      earlier.disabled = false;
    }
  }

  /** @param {string} content */
  async function ask(content) {
    const pending = item({ role: "user", content });
    pending.ariaBusy = "true";
    fresh.append(pending);
    pending.scrollIntoView({ block: "nearest" });
    message.control.value = "";
    setBusy(true);
    unsent.replaceChildren();
    say(status, { en: "Waiting for the model…", zh: "正在等待模型……" });
    try {
      const { question, answer } = await (await request(path, { method: "POST", body: { content } })).json();
      pending.replaceWith(item(question));
      fresh.append(item(answer));
    } catch (error) {
      pending.remove();
      message.control.value = content;
      const known = error instanceof Problem && error.status > 0;
      unsent.replaceChildren(say(element("p", { className: "error" }), known ? NOT_STORED : PERHAPS_STORED));
      unsent.append(problemNotice(error, () => form.requestSubmit()));
    } finally {
      say(status, { en: "", zh: "" });
      setBusy(false);
      message.control.focus({ preventScroll: true });
    }
  }

  /** @param {boolean} busy */
  function setBusy(busy) {
    send.disabled = busy;
    message.control.readOnly = busy; // `disabled` would lose the focus
  }

  /** @param {Pick<Message, "role" | "content"> & Partial<Message>} message */
  function item({ role, content, created_at }) {
    const who = element("span", { className: "hint" });
    say(who, role === "user" ? { en: "User", zh: "用户" } : { en: "Model", zh: "模型" });
    const about = element("p", { className: "hint" }, who);
    if (created_at) {
      const when = element("time", { dateTime: created_at });
      about.append(" · ", say(when, { en: dateIn("en", created_at), zh: dateIn("zh", created_at) }));
    }
    return element("li", { className: role }, about, element("div", { className: "answer" }, content));
  }

  return { node, load };
}

const NOT_STORED = {
  en: "There was no answer, and nothing was stored. Your text is still here.",
  zh: "没有得到回答，也没有保存任何内容。文字仍在输入框中。",
};
const PERHAPS_STORED = {
  en: "The answer did not arrive. Open the user again to see whether the message was stored. Your text is still here.",
  zh: "没有收到回答。请重新打开该用户，确认消息是否已保存。文字仍在输入框中。",
};

/** @param {string} value */
function wrongMessage(value) {
  if (value.trim() === "") return { en: "Please write a message first.", zh: "请先写下消息。" };
  if ([...value].length <= MAX_CHARACTERS) return null;
  return { en: "Too long. The limit is 4,000 characters.", zh: "内容过长，最多 4,000 个字符。" };
}

/** @param {HTMLElement} element */
function focusOn(element) {
  element.tabIndex = -1;
  element.focus({ preventScroll: true });
}

/**
 * @param {string} language
 * @param {string} date
 */
function dateIn(language, date) {
  return new Date(date).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
}
