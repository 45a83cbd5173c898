import { percent, sizeText } from "./format.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 * @typedef {import("./document-list.js").Document} Document
 */

/**
 * A document in the list, with its actions.
 *
 * @param {Page} page
 * @param {Document} shown
 * @param {{hintId: string, onTicked: () => void, onDeleted: () => void}} listeners
 */
export function documentRow(page, shown, { hintId, onTicked, onDeleted }) {
  const { element, say, request, download, Problem, problemNotice } = page;
  const path = `documents/${shown.id}`;
  const { filename } = shown;

  const tick = element("input", { type: "checkbox", onchange: onTicked });
  tick.setAttribute("aria-describedby", hintId);
  const name = element("span", { className: "filename", id: `documents-${shown.id}`, tabIndex: -1 }, filename);
  const saveButton = say(element("button", { type: "button", onclick: save }), { en: "Download", zh: "下载" });
  const deleteButton = say(element("button", { type: "button", onclick: askFirst }), { en: "Delete", zh: "删除" });
  for (const control of [saveButton, deleteButton]) control.setAttribute("aria-describedby", name.id);
  const actions = element("div", { className: "buttons" }, saveButton, deleteButton);

  const labels = element("span", { className: "hint tags", hidden: true });
  const state = element("span", { className: "hint" });
  const bar = element("progress", { max: 1 });
  bar.setAttribute("aria-labelledby", name.id);
  const reason = element("p", { className: "error", lang: "en" });

  const question = element("p", { id: `documents-delete-${shown.id}` });
  const keepButton = say(element("button", { type: "button", onclick: keep }), { en: "Cancel", zh: "取消" });
  const sureButton = say(element("button", { type: "button", className: "primary", onclick: remove }), {
    en: "Delete permanently",
    zh: "确认删除",
  });
  const confirmation = element("div", { className: "problem", role: "group", hidden: true }, question);
  confirmation.setAttribute("aria-labelledby", question.id);
  confirmation.append(element("div", { className: "buttons" }, sureButton, keepButton));
  const trouble = element("div");

  const node = element(
    "li",
    {},
    element("div", { className: "head" }, element("label", {}, tick, name), actions),
    element("div", { className: "state" }, state, bar),
    labels,
    reason,
    confirmation,
    trouble,
  );
  show(shown);

  /** @param {Document} document */
  function show(document) {
    const { status, progress, error, notice } = document;
    say(state, stateText(document));
    labels.textContent = document.tags.map((tag) => `#${tag}`).join(" ");
    labels.hidden = document.tags.length === 0;
    bar.hidden = status !== "processing";
    bar.value = progress;
    reason.textContent = (status === "failed" ? error : notice) ?? "";
    reason.hidden = reason.textContent === "";
    reason.className = status === "failed" ? "error" : "hint";
    tick.disabled = status === "failed"; // nothing can be found in it
    if (tick.disabled && tick.checked) {
      tick.checked = false;
      onTicked();
    }
  }

  async function save() {
    try {
      trouble.replaceChildren();
      await download(`${path}/file`, filename);
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, save));
    }
  }

  function askFirst() {
    say(question, {
      en: `Delete ${filename}? This cannot be undone.`,
      zh: `确定删除 ${filename} 吗？此操作无法撤销。`,
    });
    trouble.replaceChildren();
    confirmation.hidden = false;
    keepButton.focus();
  }

  function keep() {
    confirmation.hidden = true;
    trouble.replaceChildren();
    deleteButton.focus();
  }

  async function remove() {
    try {
      await request(path, { method: "DELETE" });
      onDeleted();
    } catch (error) {
      // 404: it was deleted elsewhere, which is the desired result.
      if (error instanceof Problem && error.status === 404) onDeleted();
      else trouble.replaceChildren(problemNotice(error, remove));
    }
  }

  return { node, filename, show, isTicked: () => tick.checked, focus: () => name.focus() };
}

/**
 * @param {Document} document
 * @returns {Text}
 */
function stateText({ status, progress, chunk_count, size_bytes, created_at }) {
  const size = sizeText(size_bytes);
  const words = {
    processing: { en: `Being read: ${percent(progress)}`, zh: `正在读取：${percent(progress)}` },
    ready: {
      en: `Ready · ${chunk_count.toLocaleString("en")} ${chunk_count === 1 ? "passage" : "passages"}`,
      zh: `可提问 · ${chunk_count.toLocaleString("zh")} 个段落`,
    },
    failed: { en: "Could not be read", zh: "无法读取" },
  }[status];
  return {
    en: `${words.en} · ${size.en} · ${dateIn("en", created_at)}`,
    zh: `${words.zh} · ${size.zh} · ${dateIn("zh", created_at)}`,
  };
}

/**
 * @param {string} language
 * @param {string} date
 */
function dateIn(language, date) {
  return new Date(date).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
}
