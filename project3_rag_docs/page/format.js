/** @typedef {import("../../shared/page/language.js").Text} Text */

/**
 * Format a size with a unit.
 *
 * @param {number} bytes
 * @returns {Text}
 */
export function sizeText(bytes) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  const power = Math.min(units.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  /** @type {Intl.NumberFormatOptions} */
  const options = {
    style: "unit",
    unit: units[power],
    unitDisplay: power > 0 ? "short" : "long",
    maximumFractionDigits: power > 1 ? 1 : 0,
  };
  const inLanguage = (/** @type {string} */ language) => (bytes / 1000 ** power).toLocaleString(language, options);
  return { en: inLanguage("en"), zh: inLanguage("zh") };
}

/**
 * Format a share as a percentage, rounded down so that 100 % means finished.
 *
 * @param {number} share
 */
export function percent(share) {
  return `${Math.floor(share * 100)} %`;
}

/**
 * @param {string} language
 * @param {string} date
 */
export function dateIn(language, date) {
  return new Date(date).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
}

/**
 * What a user may do with a collection.
 *
 * @type {Record<"owner" | "read" | "write", Text>}
 */
export const ACCESS = {
  owner: { en: "share", zh: "共享" },
  read: { en: "read", zh: "查看" },
  write: { en: "read and change", zh: "查看和修改" },
};

/** @type {Text} */
export const SILENCE = { en: "", zh: "" };
