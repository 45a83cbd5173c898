import { percent, sizeText, SILENCE } from "./format.js";
import { sendFile } from "./send-file.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 * @typedef {import("./document-list.js").Document} Document
 */

const ACCEPTED = [".pdf", ".docx", ".pptx", ".xlsx", ".odt", ".epub", ".eml", ".csv", ".html", ".htm", ".md", ".markdown", ".txt", ".text"];

/**
 * The area to choose or drop files, with the list of uploads. Files are sent one after another: a browser opens six
 * connections to a server, and the rest of the page needs some of them.
 *
 * @param {Page} page
 * @param {{onStored: (document: Document) => void, announce: (text: Text) => void}} listeners
 */
export function uploadArea(page, { onStored, announce }) {
  const { element, say } = page;
  const chooser = element("input", { type: "file", multiple: true, accept: ACCEPTED.join(), hidden: true });
  // The native file control would use the browser's language instead of the page's.
  const button = say(element("button", { type: "button", className: "primary", onclick: () => chooser.click() }), {
    en: "Add documents",
    zh: "添加文档",
  });
  const hint = say(element("p", { className: "hint", id: "documents-upload-hint" }), {
    en: "Or drop files here: pdf, docx, pptx, xlsx, odt, epub, eml, csv, html, md, txt.",
    zh: "也可以把文件拖到这里：pdf、docx、pptx、xlsx、odt、epub、eml、csv、html、md、txt。",
  });
  button.setAttribute("aria-describedby", hint.id);
  chooser.addEventListener("change", () => {
    add([...(chooser.files ?? [])]);
    chooser.value = ""; // the same file may be chosen again
  });
  const list = element("ul", { className: "uploads", role: "list" }); // Safari drops the role without markers
  const zone = element("div", { className: "dropzone" }, button, chooser, hint);
  const node = element("div", { className: "documents" }, zone, list);

  /** @type {(() => Promise<void>)[]} */
  const waiting = [];
  let working = false;
  let number = 0;

  /**
   * @param {File[]} files
   * @param {number} [folders] Number of folders dropped with them.
   */
  function add(files, folders = 0) {
    announce(
      folders > 0
        ? { en: "A folder cannot be uploaded, only the files in it.", zh: "不能上传文件夹，请直接上传其中的文件。" }
        : SILENCE,
    );
    for (const file of files) list.append(upload(file));
    work();
  }

  async function work() {
    if (working) return;
    working = true;
    while (waiting.length > 0) await waiting.shift()?.();
    working = false;
  }

  /** @param {File} file */
  function upload(file) {
    const cancelling = new AbortController();
    const { signal } = cancelling;
    const name = element("span", { className: "filename", id: `documents-upload-${(number += 1)}` }, file.name);
    const state = element("span", { className: "hint" });
    const bar = element("progress", { max: 1, value: 0 });
    bar.setAttribute("aria-labelledby", name.id);
    const cancelButton = element("button", { type: "button", onclick: cancel });
    cancelButton.setAttribute("aria-describedby", name.id);
    const trouble = element("div");
    const row = element(
      "li",
      {},
      element("div", { className: "head" }, name, cancelButton),
      element("div", { className: "state" }, state, bar),
      trouble,
    );
    wait();
    return row;

    function wait() {
      trouble.replaceChildren();
      bar.value = 0;
      bar.hidden = false;
      say(state, { en: "Waiting to upload…", zh: "等待上传……" });
      say(cancelButton, { en: "Cancel", zh: "取消" });
      waiting.push(send);
    }

    async function send() {
      if (signal.aborted) return;
      try {
        const { document, isNew } = await sendFile(page, file, { signal, onProgress });
        if (!isNew) return showDuplicate(document);
        leave();
        announce({ en: `${file.name} is stored and being read.`, zh: `${file.name} 已保存，正在读取。` });
        onStored(document);
      } catch (error) {
        if (!signal.aborted) showTrouble(error);
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
    function showDuplicate(document) {
      const { filename } = document;
      end({
        en: `Already uploaded: this content exists as ${filename}.`,
        zh: `无需重复上传：相同的内容已作为 ${filename} 上传过。`,
      });
      announce({
        en: `${file.name}: this content was uploaded before.`,
        zh: `${file.name}：相同的内容已经上传过。`,
      });
      onStored(document);
    }

    /** @param {unknown} error */
    function showTrouble(error) {
      const kind = error instanceof page.Problem ? error.status : 0;
      end(REFUSED[kind] ?? { en: "Not uploaded.", zh: "没有上传成功。" });
      trouble.replaceChildren(page.problemNotice(error, retry));
    }

    function retry() {
      const hadFocus = trouble.contains(document.activeElement);
      wait();
      if (hadFocus) cancelButton.focus();
      work();
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
      if (wasUploading) announce({ en: `Upload of ${file.name} cancelled.`, zh: `已取消上传 ${file.name}。` });
    }

    /** Remove the row; if it had the focus, move that to the button that adds documents. */
    function leave() {
      const hadFocus = row.contains(document.activeElement);
      row.remove();
      if (hadFocus) button.focus();
    }
  }

  return { node, add, focus: () => button.focus() };
}

/** @type {Record<number, Text>} */
const REFUSED = {
  413: { en: "Not uploaded: the file is too large.", zh: "没有上传：文件太大。" },
  415: { en: "Not uploaded: this file type is not supported.", zh: "没有上传：不支持这种文件。" },
};
