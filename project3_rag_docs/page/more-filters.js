import { metadataFilter } from "./metadata-filter.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("./condition.js").Condition} Condition
 */

const MAX_NAMES = 12; // of metadata, the most frequent ones

/**
 * The filters that few need: by the day of the upload, and by metadata. They are folded.
 *
 * @param {Page} page
 * @param {{collectionId: () => string, onChange: () => void}} options
 */
export function moreFilters(page, { collectionId, onChange }) {
  const { element, say, request, problemNotice } = page;
  const from = element("input", { type: "date", id: "documents-from", oninput: changed });
  const until = element("input", { type: "date", id: "documents-until", oninput: changed });
  const fromLabel = say(element("label", { htmlFor: from.id }), { en: "Uploaded from", zh: "上传日期从" });
  const untilLabel = say(element("label", { htmlFor: until.id }), { en: "Uploaded until", zh: "上传日期至" });
  const days = element(
    "div",
    { className: "limits" },
    element("div", { className: "field" }, fromLabel, from),
    element("div", { className: "field" }, untilLabel, until),
  );
  const fields = element("div", { className: "columns" }, days);
  const none = say(element("button", { type: "button", onclick: clear }), {
    en: "Clear these filters",
    zh: "清除这些筛选",
  });
  const summary = element("summary");
  const trouble = element("div");
  const node = element("details", {}, summary, fields, none, trouble);
  /** @type {ReturnType<typeof metadataFilter>[]} */
  let properties = [];
  node.addEventListener("toggle", () => node.open && load());
  showCount();

  /** Load what the metadata contains, unless it is hidden and no filter uses it. */
  async function load() {
    if (!node.open && properties.length === 0) return;
    try {
      const id = collectionId();
      const query = id && `?${new URLSearchParams({ collection_id: id })}`;
      /** @type {{items: import("./metadata-filter.js").Property[]}} */
      const { items } = await (await request(`documents/metadata${query}`)).json();
      trouble.replaceChildren();
      if (id !== collectionId()) return; // another one was chosen meanwhile
      show(items.sort((a, b) => b.count - a.count).slice(0, MAX_NAMES));
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, load));
    }
  }

  /** @param {import("./metadata-filter.js").Property[]} items */
  function show(items) {
    const before = JSON.stringify(condition());
    const known = new Map(properties.map((one) => [one.name, one]));
    properties = items.map((item, number) => {
      const made = metadataFilter(page, item, { id: `documents-metadata-${number}`, onChange: changed });
      made.take(known.get(item.name)?.values() ?? []);
      return made;
    });
    fields.replaceChildren(days, ...properties.map((one) => one.node));
    showCount();
    if (JSON.stringify(condition()) !== before) onChange(); // no document has it any more
  }

  function changed() {
    showCount();
    onChange();
  }

  function clear() {
    from.value = until.value = "";
    for (const one of properties) one.take([]);
    changed();
    summary.focus();
  }

  /** @returns {Condition} */
  function condition() {
    const all = properties.map((one) => /** @type {const} */ ([one.name, one.wanted()]));
    const metadata = Object.fromEntries(all.filter(([, wanted]) => wanted !== null));
    return {
      ...(from.value && { created_from: startOfDay(from.value).toISOString() }),
      ...(until.value && { created_before: startOfDay(until.value, 1).toISOString() }),
      ...(Object.keys(metadata).length > 0 && { metadata }),
    };
  }

  /** The filters in words that are the same in every language. */
  function words() {
    const period = from.value || until.value ? [`${from.value} – ${until.value}`.trim()] : [];
    return [...period, ...properties.map((one) => one.words()).filter(Boolean)];
  }

  function showCount() {
    const count = words().length;
    none.hidden = count === 0;
    const number = count ? ` (${count})` : "";
    say(summary, { en: `More filters${number}`, zh: `更多筛选${number}` });
  }

  return { node, load, condition, words };
}

/**
 * The beginning of a day in the time zone of the browser.
 *
 * @param {string} day As in a date field.
 * @param {number} [later] Days.
 */
function startOfDay(day, later = 0) {
  const [year, month, date] = day.split("-").map(Number);
  return new Date(year, month - 1, date + later);
}
