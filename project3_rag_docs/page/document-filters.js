import { collectionChoice } from "./collections.js";
import { moreFilters } from "./more-filters.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 *
 * @typedef {object} Wanted
 * @property {string} name A part of the file name.
 * @property {import("./condition.js").Condition} condition
 * @property {import("./collections.js").Collection | undefined} collection
 * @property {string[]} words The condition in words that are the same in every language.
 */

const TYPING_MILLISECONDS = 250;

/**
 * The controls that narrow the list of documents.
 *
 * @param {Page} page
 * @param {{collections: import("./collections.js").CollectionStore, onChange: () => void}} options
 */
export function documentFilters(page, { collections, onChange }) {
  const { element, say, request } = page;
  const name = element("input", { type: "search", id: "documents-name", maxLength: 255, oninput: searchSoon });
  const tag = element("select", { id: "documents-tag", onchange: onChange });
  const choice = collectionChoice(page, collections, {
    id: "documents-collection",
    none: { en: "All collections", zh: "全部集合" },
  });
  choice.control.addEventListener("change", changeCollection);
  const more = moreFilters(page, { collectionId: () => choice.control.value, onChange: searchSoon });
  const tagPart = part(tag, { en: "Tag", zh: "标签" });
  const collectionPart = part(choice.control, { en: "Collection", zh: "集合" });
  const namePart = part(name, { en: "Search by name", zh: "按名称查找" });
  const basic = element("div", { className: "finder" }, namePart, collectionPart, tagPart);
  const node = element("div", { className: "filters", role: "search" }, basic, more.node);
  let timer = 0;
  showTags([]);
  showCollections();
  collections.onChange(showCollections);

  /**
   * @param {HTMLElement} control
   * @param {import("../../shared/page/language.js").Text} label
   */
  function part(control, label) {
    return element("div", { className: "field" }, say(element("label", { htmlFor: control.id }), label), control);
  }

  function searchSoon() {
    clearTimeout(timer);
    timer = setTimeout(onChange, TYPING_MILLISECONDS);
  }

  function changeCollection() {
    loadChoices();
    onChange();
  }

  function showCollections() {
    const before = choice.control.value;
    choice.show();
    collectionPart.hidden = collections.all().length === 0;
    if (choice.control.value !== before) changeCollection(); // the chosen one was deleted
  }

  /** @param {string[]} tags */
  function showTags(tags) {
    const chosen = tag.value;
    tag.replaceChildren(say(element("option", { value: "" }), { en: "All tags", zh: "全部标签" }));
    tag.append(...tags.map((one) => element("option", { value: one }, one)));
    tag.value = tags.includes(chosen) ? chosen : "";
    tagPart.hidden = tags.length === 0;
    if (tag.value !== chosen) onChange();
  }

  /** Load the tags and the metadata of the documents. Without them the list can be used all the same. */
  async function loadChoices() {
    more.load();
    try {
      const id = choice.control.value;
      const query = id && `?${new URLSearchParams({ collection_id: id })}`;
      /** @type {{items: {tag: string}[]}} */
      const { items } = await (await request(`documents/tags${query}`)).json();
      if (id === choice.control.value) showTags(items.map((one) => one.tag)); // no other one was chosen meanwhile
    } catch (error) {
      if (!(error instanceof page.Problem)) throw error;
    }
  }

  /** @returns {Wanted} */
  function wanted() {
    const collection = collections.named(choice.control.value);
    return {
      name: name.value.trim(),
      condition: {
        ...(tag.value && { tags: [tag.value] }),
        ...(collection && { collection_ids: [collection.id] }),
        ...more.condition(),
      },
      collection,
      words: [...(collection ? [collection.name] : []), ...(tag.value ? [`#${tag.value}`] : []), ...more.words()],
    };
  }

  return { node, wanted, loadChoices };
}
