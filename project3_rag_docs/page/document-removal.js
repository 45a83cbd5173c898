/** @typedef {import("../../shared/page/page.js").Page} Page */

/**
 * The button that deletes a document, and the question whether to.
 *
 * @param {Page} page
 * @param {{id: string, filename: string}} document
 * @param {{onDeleted: () => void}} listeners
 */
export function documentRemoval({ element, say, request, Problem, problemNotice }, { id, filename }, { onDeleted }) {
  const button = say(element("button", { type: "button", onclick: ask }), { en: "Delete", zh: "删除" });
  const question = say(element("p", { id: `documents-delete-${id}` }), {
    en: `Delete ${filename}? This cannot be undone.`,
    zh: `确定删除 ${filename} 吗？此操作无法撤销。`,
  });
  const keepButton = say(element("button", { type: "button", onclick: keep }), { en: "Cancel", zh: "取消" });
  const sureButton = say(element("button", { type: "button", className: "primary", onclick: remove }), {
    en: "Delete permanently",
    zh: "确认删除",
  });
  const trouble = element("div");
  const buttons = element("div", { className: "buttons" }, sureButton, keepButton);
  const node = element("div", { className: "problem", role: "group", hidden: true }, question, buttons, trouble);
  node.setAttribute("aria-labelledby", question.id);

  function ask() {
    node.hidden = false;
    keepButton.focus();
  }

  function keep() {
    node.hidden = true;
    trouble.replaceChildren();
    button.focus();
  }

  async function remove() {
    try {
      await request(`documents/${id}`, { method: "DELETE" });
      onDeleted();
    } catch (error) {
      // 404: it was deleted elsewhere, which is the desired result.
      if (error instanceof Problem && error.status === 404) onDeleted();
      else trouble.replaceChildren(problemNotice(error, remove));
    }
  }

  return { button, node };
}
