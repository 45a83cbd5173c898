import { dateIn, percent, sizeText, SILENCE } from "./format.js";
import { reasonText } from "./reasons.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 *
 * @typedef {object} Document
 * @property {string} id
 * @property {number} version
 * @property {"processing" | "failed" | null} new_version The state of the version that will replace this one.
 * @property {string} filename
 * @property {string} media_type
 * @property {number} size_bytes
 * @property {"processing" | "ready" | "failed"} status
 * @property {number} progress
 * @property {number | null} queue_position How many documents are before it; null if it does not wait, and in events.
 * @property {number} chunk_count
 * @property {string | null} error
 * @property {string | null} notice What could not be read of a document that is ready.
 * @property {string[]} tags
 * @property {Record<string, string | number | boolean>} metadata
 * @property {string | null} collection_id
 * @property {string} created_at
 */

/**
 * The lines that tell the state of a document: of its ingestion, its tags, and what could not be read.
 *
 * @param {Page} page
 * @param {string} labelId The element with the document's name.
 */
export function documentState({ element, say }, labelId) {
  const state = element("span", { className: "hint" });
  const bar = element("progress", { max: 1 });
  bar.setAttribute("aria-labelledby", labelId);
  const labels = element("p", { className: "hint tags", hidden: true });
  const reason = element("p");
  const nodes = [element("div", { className: "state" }, state, bar), labels, reason];
  /** @type {number | null} */
  let position = null;

  /** @param {Document} document */
  function show(document) {
    const { status, progress, error, notice, tags } = document;
    // Events do not tell the position, which is still about the same until the first chunk is stored.
    position = status === "processing" && progress === 0 ? (document.queue_position ?? position) : null;
    say(state, stateText(document, position));
    bar.hidden = status !== "processing";
    bar.value = progress;
    labels.textContent = tags.map((tag) => `#${tag}`).join(" ");
    labels.hidden = tags.length === 0;
    say(reason, reasonText((status === "failed" ? error : notice) ?? ""));
    reason.hidden = reason.textContent === "";
    reason.className = status === "failed" ? "error" : "hint";
  }

  return { nodes, show };
}

/**
 * @param {Document} document
 * @param {number | null} position
 * @returns {Text}
 */
function stateText({ status, new_version, progress, chunk_count, size_bytes, created_at }, position) {
  const size = sizeText(size_bytes);
  const reading = { en: `Being read: ${percent(progress)}`, zh: `正在读取：${percent(progress)}` };
  const words = {
    processing: position ? { en: `Waiting: ${position} before it`, zh: `排队中：前面还有 ${position} 个` } : reading,
    ready: {
      en: `Ready · ${chunk_count.toLocaleString("en")} ${chunk_count === 1 ? "passage" : "passages"}`,
      zh: `可提问 · ${chunk_count.toLocaleString("zh")} 个段落`,
    },
    failed: { en: "Could not be read", zh: "无法读取" },
  }[status];
  const next = new_version ? NEW_VERSION[new_version] : SILENCE;
  return {
    en: `${words.en} · ${size.en} · ${dateIn("en", created_at)}${next.en}`,
    zh: `${words.zh} · ${size.zh} · ${dateIn("zh", created_at)}${next.zh}`,
  };
}

const NEW_VERSION = {
  processing: { en: " · its new version is being read", zh: " · 正在读取新版本" },
  failed: { en: " · its new version could not be read", zh: " · 新版本无法读取" },
};
