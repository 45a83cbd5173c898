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
 * @property {string} reasoning Of the model, before the text.
 * @property {ToolCall[]} calls
 * @property {string} [answers] Of a tool's result: the id of the call.
 * @property {boolean} hasFailed Of a tool's result.
 * @property {boolean} isMissing Of a tool's result: it takes the place of one, because the run ended first.
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
    reasoning: reasoningOf(raw),
    calls: [...(raw.tool_calls ?? []), ...(raw.invalid_tool_calls ?? [])],
    answers: raw.tool_call_id,
    hasFailed: raw.status === "error",
    isMissing: raw.additional_kwargs?.stopped === true,
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

/** @param {any} raw A message, or a chunk of one. */
function reasoningOf({ content, additional_kwargs }) {
  const blocks = Array.isArray(content) ? content : [];
  const inContent = blocks.map((block) => block?.reasoning ?? block?.thinking).filter((one) => typeof one === "string");
  return additional_kwargs?.reasoning_content ?? inContent.join("");
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
    const begun = { message: { ...messageOf(raw), text: "", reasoning: "", calls: [] }, calls: new Map() };
    const { message, calls } = known.get(raw.id) ?? begun;
    known.set(raw.id, { message, calls });
    if (raw.type !== "AIMessageChunk") return Object.assign(message, messageOf(raw));
    if (raw.additional_kwargs?.misplaced_reasoning) message.text = ""; // it is repeated as reasoning
    message.text += textOf(raw.content);
    message.reasoning += reasoningOf(raw);
    for (const { index, id, name, args } of raw.tool_call_chunks ?? []) {
      const call = calls.get(index) ?? { id: "", name: "", args: "" };
      calls.set(index, { id: call.id || (id ?? ""), name: call.name + (name ?? ""), args: call.args + (args ?? "") });
    }
    message.calls = [...calls.values()];
    return message;
  }

  return { add, all: () => [...known.values()].map(({ message }) => message), forget: () => known.clear() };
}
