/**
 * Messages in LangChain's format.
 *
 * @typedef {object} ToolCall
 * @property {string} id
 * @property {string} name
 * @property {Record<string, unknown> | string} args Text while they are still being written.
 *
 * @typedef {object} Message
 * @property {string} id
 * @property {"human" | "ai" | "tool" | "system"} type
 * @property {string} text
 * @property {ToolCall[]} calls
 * @property {string} [answers] Of a tool's result: the id of the call.
 * @property {boolean} hasFailed Of a tool's result.
 * @property {boolean} isSummary Whether it stands for what was said before.
 * @property {Citation[]} citations What a tool has found, for the numbers in later messages.
 *
 * @typedef {object} Citation
 * @property {number} marker
 * @property {string} filename
 * @property {number | null} page
 * @property {string} quote
 */

/**
 * @param {any} raw
 * @returns {Message}
 */
export function messageOf(raw) {
  return {
    id: raw.id,
    type: TYPES[raw.type] ?? "system",
    text: textOf(raw.content),
    calls: [...(raw.tool_calls ?? []), ...(raw.invalid_tool_calls ?? [])],
    answers: raw.tool_call_id,
    hasFailed: raw.status === "error",
    isSummary: raw.additional_kwargs?.lc_source === "summarization",
    citations: raw.artifact?.citations ?? [],
  };
}

/** @type {Record<string, Message["type"]>} */
const TYPES = { human: "human", ai: "ai", AIMessageChunk: "ai", tool: "tool" };

/**
 * Whether a graph's state is a conversation.
 *
 * @param {any} values
 */
export function hasMessages(values) {
  const { messages } = values;
  return Array.isArray(messages) && messages.every((one) => typeof one?.type === "string");
}

/** @param {unknown} content Text, or blocks of which some are text. */
function textOf(content) {
  const blocks = Array.isArray(content) ? content : [content];
  return blocks.map((block) => (typeof block === "string" ? block : (block?.text ?? ""))).join("");
}

/**
 * Assemble messages from the chunks that a run streams.
 */
export function messagesInPieces() {
  /** @type {Map<string, {message: Message, calls: Map<number, ToolCall>}>} */
  const known = new Map();

  /**
   * @param {any} raw A piece, or a message that came whole.
   * @returns {Message} So far.
   */
  function add(raw) {
    const begun = { message: { ...messageOf(raw), text: "", calls: [] }, calls: new Map() };
    const { message, calls } = known.get(raw.id) ?? begun;
    known.set(raw.id, { message, calls });
    if (raw.type !== "AIMessageChunk") return Object.assign(message, messageOf(raw));
    message.text += textOf(raw.content);
    for (const { index, id, name, args } of raw.tool_call_chunks ?? []) {
      const call = calls.get(index) ?? { id: "", name: "", args: "" };
      calls.set(index, { id: call.id || (id ?? ""), name: call.name + (name ?? ""), args: call.args + (args ?? "") });
    }
    message.calls = [...calls.values()];
    return message;
  }

  return { add, all: () => [...known.values()].map(({ message }) => message), forget: () => known.clear() };
}
