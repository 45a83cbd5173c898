import { dateIn, percent, sizeText } from "./format.js";
import { reasonText } from "./reasons.js";
import { sendFile } from "./send-file.js";
import { ACCEPTED } from "./accepted.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 *
 * @typedef {object} Version
 * @property {number} version
 * @property {"processing" | "ready" | "failed" | "replaced"} status
 * @property {string} filename
 * @property {number} size_bytes
 * @property {string | null} error
 * @property {string} created_at
 */

/**
 * The versions of a document, and the button that uploads another one.
 *
 * @param {Page} page
 * @param {string} id Of the document.
 * @param {{onReplaced: () => void}} listeners
 */
export function versionsView(page, id, { onReplaced }) {
  const { element, say, request, problemNotice } = page;
  const button = say(element("button", { type: "button", onclick: choose }), {
    en: "Upload a new version",
    zh: "上传新版本",
  });
  const list = element("ol", { className: "versions", role: "list" });
  const state = element("p", { className: "hint", role: "status" });
  const trouble = element("div");
  const summary = say(element("summary"), { en: "Versions", zh: "版本" });
  const node = element("details", {}, summary, list, state, trouble, button);
  node.addEventListener("toggle", () => node.open && load());

  async function load() {
    try {
      /** @type {{items: Version[]}} */
      const { items } = await (await request(`documents/${id}/versions`)).json();
      list.replaceChildren(...items.map(versionRow));
      trouble.replaceChildren();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, load));
    }
  }

  /** @param {Version} version */
  function versionRow({ version, status, filename, size_bytes, error, created_at }) {
    const size = sizeText(size_bytes);
    const number = { en: `Version ${version}`, zh: `第 ${version} 版` };
    const about = say(element("span", { className: "hint" }), {
      en: `${number.en} · ${STATES[status].en} · ${size.en} · ${dateIn("en", created_at)}`,
      zh: `${number.zh} · ${STATES[status].zh} · ${size.zh} · ${dateIn("zh", created_at)}`,
    });
    const row = element("li", {}, element("span", { className: "filename" }, filename), about);
    if (error) row.append(say(element("p", { className: "error" }), reasonText(error)));
    return row;
  }

  function choose() {
    const chooser = element("input", { type: "file", accept: ACCEPTED.join() });
    chooser.addEventListener("change", () => chooser.files?.[0] && replace(chooser.files[0]));
    chooser.click();
  }

  /** @param {File} file */
  async function replace(file) {
    trouble.replaceChildren();
    button.disabled = true;
    try {
      const { isNew } = await sendFile(page, file, {
        path: `documents/${id}/versions`,
        onProgress: (share) => say(state, { en: `Uploading: ${percent(share)}`, zh: `正在上传：${percent(share)}` }),
      });
      say(
        state,
        isNew
          ? { en: "Stored. The current version is searched until this one is ready.", zh: "已保存。新版本就绪前仍检索当前版本。" }
          : { en: "This version has the same content already.", zh: "已有内容相同的版本。" },
      );
      onReplaced();
    } catch (error) {
      state.textContent = "";
      trouble.replaceChildren(problemNotice(error));
    } finally {
      button.disabled = false;
    }
    if (node.open) load();
  }

  return { node, reload: () => node.open && load() };
}

const STATES = {
  processing: { en: "being read", zh: "正在读取" },
  ready: { en: "current", zh: "当前版本" },
  failed: { en: "could not be read", zh: "无法读取" },
  replaced: { en: "replaced", zh: "已被替换" },
};
