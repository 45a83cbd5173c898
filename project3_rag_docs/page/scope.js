/**
 * @typedef {import("../../shared/page/language.js").Text} Text
 * @typedef {import("./collections.js").Collection} Collection
 *
 * @typedef {object} Scope The documents that a question is about.
 * @property {{document_ids?: string[], filter?: import("./condition.js").Condition}} body Of the request.
 * @property {Text} before What will be searched; empty if it is everything.
 * @property {Text} after What was searched.
 */

/** @type {Scope} */
const EVERYTHING = {
  body: {},
  before: { en: "", zh: "" },
  after: { en: "All documents were searched.", zh: "已检索全部文档。" },
};

/**
 * Return what a question is about: the document that is open, the ticked ones, or those that the list is narrowed to.
 *
 * @param {object} chosen
 * @param {{id: string, filename: string, collection_id: string | null} | null} chosen.open
 * @param {string[]} chosen.ticked Ids.
 * @param {import("./condition.js").Condition} chosen.condition
 * @param {Collection | undefined} chosen.collection
 * @param {string[]} chosen.words The condition in words.
 * @param {(id: string | null) => Collection | undefined} collectionOf
 * @returns {Scope}
 */
export function scopeOf({ open, ticked, condition, collection, words }, collectionOf) {
  if (open) {
    return {
      body: { document_ids: [open.id], ...sharedFilter(collectionOf(open.collection_id)) },
      before: { en: `Only ${open.filename} will be searched.`, zh: `只检索 ${open.filename}。` },
      after: { en: `Only ${open.filename} was searched.`, zh: `只检索了 ${open.filename}。` },
    };
  }
  if (ticked.length > 0) {
    const documents = ticked.length === 1 ? "document" : "documents";
    return {
      body: { document_ids: ticked, ...sharedFilter(collection) },
      before: {
        en: `Only the ${ticked.length} ticked ${documents} will be searched.`,
        zh: `只检索勾选的 ${ticked.length} 个文档。`,
      },
      after: { en: "Only the ticked documents were searched.", zh: "只检索了勾选的文档。" },
    };
  }
  if (words.length === 0) return EVERYTHING;
  const wanted = words.join(" · ");
  return {
    body: { filter: condition },
    before: { en: `Only documents that match ${wanted} will be searched.`, zh: `只检索符合 ${wanted} 的文档。` },
    after: { en: `Only documents that match ${wanted} were searched.`, zh: `只检索了符合 ${wanted} 的文档。` },
  };
}

/**
 * Return the filter that finds documents of another user, which are searched only if their collection is named.
 *
 * @param {Collection | undefined} collection
 */
function sharedFilter(collection) {
  return collection && collection.access !== "owner" ? { filter: { collection_ids: [collection.id] } } : {};
}
