import { messageOf } from "./messages.js";
import { tokensText } from "./run-texts.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 */

/** @type {Record<string, Text>} */
const ROLES = {
  human: { en: "User", zh: "用户" },
  ai: { en: "Model", zh: "模型" },
  tool: { en: "Tool", zh: "工具" },
  system: { en: "System", zh: "系统" },
};

/**
 * Values of a state, inserted as text: messages as messages, everything else as JSON.
 *
 * @param {Page} page
 */
export function valueViews({ element, say }) {
  /** @param {unknown} value */
  function valueView(value) {
    const items = Array.isArray(value) ? value : [value];
    return items.length > 0 && items.every(isMessage) ? messagesView(items) : json(value);
  }

  /** @param {any[]} messages */
  function messagesView(messages) {
    return element("ol", { className: "run-messages", role: "list" }, ...messages.map(messageView));
  }

  /** @param {any} raw A message, or its short form with `role`. */
  function messageView(raw) {
    const message = messageOf({ ...raw, type: raw.type ?? (raw.role === "assistant" ? "ai" : "human") });
    const who = say(element("span", { className: "run-role" }), ROLES[message.type]);
    const facts = element("span", { className: "hint" }, ...(raw.name ? [" ", raw.name] : []));
    const usage = raw.usage_metadata;
    if (usage) {
      const tokens = tokensText({ input: usage.input_tokens, output: usage.output_tokens });
      facts.append(" · ", say(element("span"), tokens));
    }
    const model = raw.response_metadata?.model_name;
    if (typeof model === "string") facts.append(" · ", model);
    const node = element("li", {}, element("p", {}, who, facts));
    node.classList.toggle("failed", message.hasFailed);
    if (message.reasoning) node.append(labelled({ en: "Reasoning", zh: "思考过程" }, block(message.reasoning)));
    if (message.text) node.append(block(message.text));
    for (const { name, args } of message.calls) {
      const call = element("p", { className: "hint" }, say(element("span"), { en: "calls", zh: "调用" }), " ");
      call.append(element("code", {}, name));
      node.append(call, json(args));
    }
    return node;
  }

  /** @param {unknown} value */
  function json(value) {
    return block(typeof value === "string" ? value : JSON.stringify(value, null, 2));
  }

  /** @param {string} text */
  function block(text) {
    return element("pre", { tabIndex: 0 }, text); // focusable, so that it can be scrolled with the keyboard
  }

  /**
   * @param {Text} text
   * @param {...Node} content
   */
  function labelled(text, ...content) {
    return element("div", { className: "run-part" }, say(element("p", { className: "hint" }), text), ...content);
  }

  /**
   * The difference that a step made to a channel.
   *
   * @param {any} change
   */
  function changeView(change) {
    const name = element("code", {}, change.channel);
    const size = element("span", { className: "hint" });
    const node = element("li", {}, element("p", {}, name, " ", size));
    if (change.kind === "large") {
      const text = { en: `not shown: ${change.bytes} bytes`, zh: `未显示：${change.bytes} 字节` };
      say(size, text);
    } else if (change.kind === "items") {
      size.textContent = `${change.items_before} → ${change.items_after}`;
      const parts = /** @type {const} */ ([
        ["added", { en: "added", zh: "新增" }],
        ["changed", { en: "changed", zh: "改为" }],
        ["removed", { en: "removed", zh: "移除" }],
      ]);
      for (const [part, text] of parts) if (change[part].length > 0) node.append(labelled(text, valueView(change[part])));
    } else {
      if (change.before !== null) node.append(labelled({ en: "before", zh: "之前" }, valueView(change.before)));
      node.append(labelled({ en: "after", zh: "之后" }, valueView(change.after)));
    }
    return node;
  }

  return { valueView, messagesView, changeView, json, labelled };
}

/** @param {any} value */
function isMessage(value) {
  return typeof value === "object" && value !== null && "content" in value && ("type" in value || "role" in value);
}
