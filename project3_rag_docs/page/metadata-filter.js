/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("./condition.js").Value} Value
 * @typedef {{name: string, count: number, values: Value[]}} Property A name in the metadata, and its values.
 */

const DAY = /^\d{4}-\d{2}-\d{2}/;

/**
 * The filter by one name of the metadata: limits of numbers and dates, or a choice of values.
 *
 * @param {Page} page
 * @param {Property} property
 * @param {{id: string, onChange: () => void}} options
 */
export function metadataFilter({ element, say }, { name, values }, { id, onChange }) {
  const type = typeOf(values);
  const controls = type ? [input("from"), input("until")] : [choice()];
  const fields = controls.map((control, number) => {
    const [en, zh] = type ? [` ${["from", "until"][number]}`, [" 从", " 至"][number]] : ["", ""];
    const label = say(element("label", { htmlFor: control.id }), { en: `${name}${en}`, zh: `${name}${zh}` });
    return element("div", { className: "field" }, label, control);
  });

  const node = element("div", { className: "limits" }, ...fields);

  /** @param {string} end */
  function input(end) {
    return element("input", { type: type ?? "text", step: "any", id: `${id}-${end}`, oninput: onChange });
  }

  function choice() {
    const select = element("select", { id, oninput: onChange });
    select.append(say(element("option", { value: "" }), { en: "Any", zh: "不限" }));
    for (const value of values) select.append(element("option", { value: JSON.stringify(value) }, String(value)));
    return select;
  }

  /** @returns {Value | import("./condition.js").Range | null} What is wanted; null if anything is. */
  function wanted() {
    const [first, last] = controls.map((control) => control.value);
    if (!first && !last) return null;
    if (!type) return JSON.parse(first);
    if (type === "number") return { ...(first && { gte: Number(first) }), ...(last && { lte: Number(last) }) };
    return { ...(first && { gte: first }), ...(last && { lt: dayAfter(last) }) }; // values may have a time
  }

  function words() {
    const [first, last] = controls.map((control) => control.value);
    if (!first && !last) return "";
    return `${name}: ${type ? `${first} – ${last}`.trim() : JSON.parse(first)}`;
  }

  /** @param {string[]} before The values of the controls. */
  function take(before) {
    controls.forEach((control, number) => {
      control.value = before[number] ?? "";
      if (control instanceof HTMLSelectElement && control.selectedIndex === -1) control.value = ""; // no longer offered
    });
  }

  return { name, node, wanted, words, take, values: () => controls.map((control) => control.value) };
}

/**
 * Return the type of the input fields for the limits of some values; null if they are chosen instead.
 *
 * @param {Value[]} values
 */
function typeOf(values) {
  if (values.length === 0) return null;
  if (values.every((value) => typeof value === "number")) return "number";
  return values.every((value) => typeof value === "string" && DAY.test(value)) ? "date" : null;
}

/** @param {string} day As in a date field. */
function dayAfter(day) {
  return new Date(Date.parse(day) + 24 * 60 * 60 * 1000).toISOString().slice(0, 10);
}
