import { documentContent } from "./document-content.js";
import { documentEdit } from "./document-edit.js";
import { documentRemoval } from "./document-removal.js";
import { documentState } from "./document-state.js";
import { follower } from "./follow.js";
import { summaryView } from "./summary.js";
import { versionsView } from "./versions.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("./document-state.js").Document} Document
 */

/**
 * One document: its state, what can be done with it, and its content.
 *
 * @param {Page} page
 * @param {Document} document
 * @param {object} options
 * @param {number} options.pageNumber Of a PDF, to begin with.
 * @param {import("./collections.js").CollectionStore} options.collections
 * @param {(document: Document) => void} options.onChanged
 * @param {() => void} options.onDeleted
 */
export function documentDetail(page, document, { pageNumber, collections, onChanged, onDeleted }) {
  const { element, say, request, download, problemNotice } = page;
  const { id } = document;
  const back = say(element("a", { href: "#/documents", className: "back" }), { en: "All documents", zh: "全部文档" });
  const name = element("h3", { tabIndex: -1, id: "documents-detail", className: "filename" });
  const state = documentState(page, name.id);
  const saveButton = say(element("button", { type: "button", onclick: save }), { en: "Download", zh: "下载" });
  const summary = summaryView(page, id);
  const removal = documentRemoval(page, document, { onDeleted });
  const actions = element("div", { className: "buttons" }, saveButton, summary.button, removal.button);
  const trouble = element("div");
  const versions = versionsView(page, id, { onReplaced: follow });
  const editor = element("div");
  const content = element("div");
  const node = element("section", { className: "detail" }, back, name, ...state.nodes, actions, removal.node, trouble);
  node.append(summary.node, editor, versions.node, content);
  const following = follower(page, { onState: update, onGone: onDeleted });
  let shownVersion = 0;
  show(document);
  if (document.status === "processing" || document.new_version === "processing") follow();

  /** @param {Document} current */
  function show(current) {
    document = current;
    name.textContent = current.filename;
    state.show(current);
    summary.button.hidden = current.status !== "ready";
    editor.replaceChildren(documentEdit(page, current, { collections, onSaved: changed }).node);
    if (current.status !== "ready" || current.version === shownVersion) return;
    content.replaceChildren(documentContent(page, current, shownVersion ? 1 : pageNumber));
    shownVersion = current.version;
  }

  /** @param {Document} current */
  function changed(current) {
    show(current);
    onChanged(current);
  }

  function follow() {
    following.follow(id);
  }

  /** @param {Document} latest Possibly a new version, which does not replace the current one before it is ready. */
  async function update(latest) {
    if (latest.version === document.version && latest.status === "processing") return state.show(latest);
    if (latest.status === "processing") return versions.reload();
    try {
      changed(await (await request(`documents/${id}`)).json());
      versions.reload();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, () => update(latest)));
    }
  }

  async function save() {
    try {
      trouble.replaceChildren();
      await download(`documents/${id}/file`, document.filename);
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, save));
    }
  }

  function close() {
    summary.stop();
    following.leave(id);
  }

  return { node, id, document: () => document, close, focus: () => name.focus() };
}
