import { ARCHIVE } from "./accepted.js";
import { percent, sizeText, SILENCE } from "./format.js";
import { reasonText } from "./reasons.js";
import { sendFile } from "./send-file.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 * @typedef {import("./document-state.js").Document} Document
 * @typedef {{documents: Document[], refused: {path: string, reason: string}[]}} ArchiveReport
 */

let uploads = 0;

/**
 * The upload of a file, in the list of uploads.
 *
 * @param {Page} page
 * @param {import("./drops.js").Found} found
 * @param {object} options
 * @param {string} options.collectionId Of the collection that the document comes into; empty for none.
 * @param {(send: () => Promise<void>) => void} options.enqueue Calls `send` when it is this file's turn.
 * @param {(documents: Document[]) => void} options.onStored
 * @param {() => void} options.onLeft Called when the row, which had the focus, was removed.
 * @param {(text: Text) => void} options.announce
 */
export function uploadRow(page, { file, path }, { collectionId, enqueue, onStored, onLeft, announce }) {
  const { element, say } = page;
  const isArchive = path.toLowerCase().endsWith(ARCHIVE);
  const fields = {
    ...(path.includes("/") && !isArchive && { metadata: JSON.stringify({ path }) }),
    ...(collectionId && { collection_id: collectionId }),
  };
  const cancelling = new AbortController();
  const { signal } = cancelling;
  const name = element("span", { className: "filename", id: `documents-upload-${(uploads += 1)}` }, path);
  const state = element("span", { className: "hint" });
  const bar = element("progress", { max: 1, value: 0 });
  bar.setAttribute("aria-labelledby", name.id);
  const cancelButton = element("button", { type: "button", onclick: cancel });
  cancelButton.setAttribute("aria-describedby", name.id);
  const trouble = element("div");
  const head = element("div", { className: "head" }, name, cancelButton);
  const node = element("li", {}, head, element("div", { className: "state" }, state, bar), trouble);
  wait();

  function wait() {
    trouble.replaceChildren();
    bar.value = 0;
    bar.hidden = false;
    say(state, { en: "Waiting to upload…", zh: "等待上传……" });
    say(cancelButton, { en: "Cancel", zh: "取消" });
    enqueue(send);
  }

  async function send() {
    if (signal.aborted) return;
    try {
      const to = isArchive ? "documents/archive" : "documents";
      const { stored, isNew } = await sendFile(page, file, { path: to, fields, signal, onProgress });
      if (isArchive) showReport(stored);
      else if (isNew) showStored(stored);
      else showDuplicate(stored);
    } catch (error) {
      if (!signal.aborted) await showTrouble(error);
    }
  }

  /** @param {number} share */
  function onProgress(share) {
    bar.value = share;
    const { en, zh } = sizeText(file.size);
    const sending = { en: `Uploading: ${percent(share)} of ${en}`, zh: `正在上传：${zh} 的 ${percent(share)}` };
    say(state, share < 1 ? sending : { en: "Uploaded. Saving…", zh: "上传完毕，正在保存……" });
  }

  /** @param {Document} document */
  function showStored(document) {
    leave();
    announce({ en: `${path} is stored and being read.`, zh: `${path} 已保存，正在读取。` });
    onStored([document]);
  }

  /** @param {Document} document */
  function showDuplicate(document) {
    const { filename } = document;
    end({
      en: `Already uploaded: this content exists as ${filename}.`,
      zh: `无需重复上传：相同的内容已作为 ${filename} 上传过。`,
    });
    announce({ en: `${path}: this content was uploaded before.`, zh: `${path}：相同的内容已经上传过。` });
    onStored([document]);
  }

  /** @param {ArchiveReport} report */
  function showReport({ documents, refused }) {
    const [stored, all] = [documents.length, documents.length + refused.length];
    const count = { en: `${stored} of ${all} files are stored.`, zh: `${all} 个文件中已保存 ${stored} 个。` };
    onStored(documents);
    announce({ en: `${path}: ${count.en}`, zh: `${path}：${count.zh}` });
    if (refused.length === 0) return leave();
    end(count);
    const list = element("ul", { className: "refused" });
    for (const { path: member, reason } of refused) {
      const { en, zh } = reasonText(reason);
      list.append(say(element("li"), { en: `${member}: ${en}`, zh: `${member}：${zh}` }));
    }
    trouble.replaceChildren(list);
  }

  /** @param {unknown} error */
  async function showTrouble(error) {
    const { status, retryAfter } = error instanceof page.Problem ? error : { status: 0, retryAfter: 0 };
    if (status === 429 && retryAfter) return pause(retryAfter);
    end(REFUSED[status] ?? { en: "Not uploaded.", zh: "没有上传成功。" });
    trouble.replaceChildren(page.problemNotice(error, retry));
  }

  /**
   * Wait until the server takes more documents, and send again. The files after this one would be refused, too.
   *
   * @param {number} seconds
   */
  async function pause(seconds) {
    say(state, { en: "Waiting until other documents are read…", zh: "正在等待其他文档读取完毕……" });
    bar.value = 0;
    await new Promise((resolve) => {
      setTimeout(resolve, seconds * 1000);
      signal.addEventListener("abort", resolve);
    });
    await send();
  }

  function retry() {
    const hadFocus = trouble.contains(document.activeElement);
    wait();
    if (hadFocus) cancelButton.focus();
  }

  /** @param {Text} message */
  function end(message) {
    bar.hidden = true;
    say(state, message);
    say(cancelButton, { en: "Dismiss", zh: "知道了" });
  }

  function cancel() {
    const wasUploading = !bar.hidden;
    cancelling.abort();
    leave();
    announce(wasUploading ? { en: `Upload of ${path} cancelled.`, zh: `已取消上传 ${path}。` } : SILENCE);
  }

  function leave() {
    const hadFocus = node.contains(document.activeElement);
    node.remove();
    if (hadFocus) onLeft();
  }

  return { node };
}

/** @type {Record<number, Text>} */
const REFUSED = {
  413: { en: "Not uploaded: the file is too large.", zh: "没有上传：文件太大。" },
  415: { en: "Not uploaded: this file type is not supported.", zh: "没有上传：不支持这种文件。" },
};
