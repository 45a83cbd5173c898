/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("./condition.js").Value} Value
 * @typedef {Record<string, Value>} Metadata
 */

const LINE = /^\s*([\p{L}\p{N}_.-]{1,64})\s*[:：=]\s*(.*?)\s*$/u;
const NUMBER = /^-?(0|[1-9]\d{0,14})(\.\d+)?$/;

/**
 * The field for a document's metadata, a line for each value.
 *
 * @param {Pick<Page, "element" | "field">} page
 * @param {Metadata} metadata
 */
export function metadataField({ element, field }, metadata) {
  const text = Object.entries(metadata).map(([name, value]) => `${name}: ${value}`.replace(/\s+/g, " ").trim());
  const { node, control, validate } = field({
    id: "documents-metadata-of-one",
    control: element("textarea", { rows: Math.min(8, text.length + 2), value: text.join("\n"), spellcheck: false }),
    label: { en: "Metadata", zh: "元数据" },
    hint: {
      en: "One value in a line, such as “year: 2024”. Numbers and dates (2024-05-31) can be filtered by limits.",
      zh: "每行一个值，例如“year: 2024”。数字和日期（2024-05-31）可以按范围筛选。",
    },
    check: ({ value }) => wrongLine(linesOf(value)),
  });

  /** @returns {Record<string, Value | null>} What has changed; null for a value that was removed. */
  function changes() {
    const lines = linesOf(control.value);
    /** @type {Record<string, Value | null>} */
    const wanted = Object.fromEntries(Object.keys(metadata).map((name) => [name, null]));
    for (const line of lines) {
      const [, name, value] = /** @type {RegExpMatchArray} */ (line.match(LINE));
      if (text.includes(`${name}: ${value}`.trim())) delete wanted[name]; // it keeps its type, such as the text "2024"
      else wanted[name] = typed(value);
    }
    return wanted;
  }

  return { node, control, validate, changes };
}

/** @param {string} text */
function linesOf(text) {
  return text.split("\n").filter((line) => line.trim());
}

/** @param {string[]} lines */
function wrongLine(lines) {
  const wrong = lines.find((line) => !LINE.test(line) || line.length > 1000);
  if (wrong) {
    const start = wrong.trim().slice(0, 40);
    return { en: `“${start}” is not of the form “name: value”.`, zh: `“${start}”不是“名称: 值”的形式。` };
  }
  return lines.length > 50 ? { en: "At most 50 values.", zh: "最多 50 个值。" } : null;
}

/** @param {string} value */
function typed(value) {
  if (value === "true" || value === "false") return value === "true";
  return NUMBER.test(value) ? Number(value) : value;
}
