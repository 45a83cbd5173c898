import { collectionChoice } from "./collections.js";
import { metadataField } from "./metadata-field.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("./document-state.js").Document} Document
 */

/**
 * The form for a document's name, tags, metadata and collection.
 *
 * @param {Page} page
 * @param {Document} document
 * @param {{collections: import("./collections.js").CollectionStore, onSaved: (document: Document) => void}} options
 */
export function documentEdit({ element, say, field, request, problemNotice }, document, { collections, onSaved }) {
  const name = field({
    id: "documents-name-of-one",
    control: element("input", { value: document.filename, maxLength: 255, required: true, autocomplete: "off" }),
    label: { en: "Name", zh: "名称" },
    check: ({ value }) => (value.trim() ? null : { en: "A document needs a name.", zh: "文档需要名称。" }),
  });
  const tags = field({
    id: "documents-tags-of-one",
    control: element("input", { value: document.tags.join(", "), autocomplete: "off" }),
    label: { en: "Tags", zh: "标签" },
    hint: { en: "Separated by commas.", zh: "用逗号分隔。" },
    check: ({ value }) =>
      tagsIn(value).some((tag) => tag.length > 64) || tagsIn(value).length > 50
        ? { en: "At most 50 tags of 64 characters.", zh: "最多 50 个标签，每个不超过 64 个字符。" }
        : null,
  });
  const metadata = metadataField({ element, field }, document.metadata);
  const shared = collections.named(document.collection_id);
  const isOwn = !shared || shared.access === "owner";
  const choice = collectionChoice({ element, say }, collections, {
    id: "documents-collection-of-one",
    none: { en: "No collection", zh: "不属于任何集合" },
    ownOnly: isOwn,
    value: document.collection_id,
  });
  choice.control.disabled = !isOwn; // only its owner moves it
  const label = say(element("label", { htmlFor: choice.control.id }), { en: "Collection", zh: "集合" });
  const save = say(element("button", { type: "submit", className: "primary" }), { en: "Save", zh: "保存" });
  const trouble = element("div");
  const fields = element("div", { className: "columns" }, name.node, tags.node);
  fields.append(element("div", { className: "field" }, label, choice.control), metadata.node);
  const form = element("form", { noValidate: true }, fields, save, trouble);
  form.addEventListener("submit", submit);
  const summary = say(element("summary"), { en: "Name, tags, metadata, collection", zh: "名称、标签、元数据、集合" });
  const node = element("details", {}, summary, form);

  /** @param {Event} [event] */
  async function submit(event) {
    event?.preventDefault();
    const wrong = [name, tags, metadata].filter((one) => !one.validate());
    if (wrong.length > 0) return wrong[0].control.focus();
    const body = {
      filename: name.control.value.trim(),
      tags: tagsIn(tags.control.value),
      metadata: metadata.changes(),
      ...(isOwn && { collection_id: choice.control.value || null }),
    };
    try {
      const saved = await request(`documents/${document.id}`, { method: "PATCH", body });
      trouble.replaceChildren();
      node.open = false;
      summary.focus();
      onSaved(await saved.json());
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, submit));
    }
  }

  return { node };
}

/** @param {string} text */
function tagsIn(text) {
  return [...new Set(text.split(/[,，、]/).map((tag) => tag.trim().replace(/^#/, "")))].filter(Boolean);
}
