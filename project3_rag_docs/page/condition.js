/**
 * @typedef {import("./document-state.js").Document} Document
 * @typedef {string | number | boolean} Value
 * @typedef {{gte?: Value, lte?: Value, lt?: Value}} Range
 *
 * @typedef {object} Condition A filter of the API.
 * @property {string[]} [tags]
 * @property {string[]} [collection_ids]
 * @property {string} [created_from]
 * @property {string} [created_before]
 * @property {Record<string, Value | Range>} [metadata]
 */

/**
 * Whether a document meets a condition, as the API decides it.
 *
 * @param {Document} document
 * @param {Condition} condition
 */
export function meets(document, { tags, collection_ids, created_from, created_before, metadata = {} }) {
  const created = Date.parse(document.created_at);
  return (
    (!tags || tags.some((tag) => document.tags.includes(tag))) &&
    (!collection_ids || collection_ids.includes(document.collection_id ?? "")) &&
    (!created_from || created >= Date.parse(created_from)) &&
    (!created_before || created < Date.parse(created_before)) &&
    Object.entries(metadata).every(([name, wanted]) => hasValue(document.metadata[name], wanted))
  );
}

/**
 * @param {Value | undefined} value
 * @param {Value | Range} wanted
 */
function hasValue(value, wanted) {
  if (value === undefined || typeof wanted !== "object") return value === wanted;
  const { gte = value, lte = value, lt } = wanted;
  if ([gte, lte, lt ?? value].some((limit) => typeof limit !== typeof value)) return false;
  return value >= gte && value <= lte && (lt === undefined || value < lt);
}
