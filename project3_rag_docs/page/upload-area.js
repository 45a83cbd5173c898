import { ACCEPTED, ARCHIVE } from "./accepted.js";
import { chosenFiles } from "./drops.js";
import { uploadRow } from "./upload-row.js";
import { uploadUrl } from "./upload-url.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 * @typedef {import("./document-state.js").Document} Document
 * @typedef {import("./drops.js").Found} Found
 */

/**
 * The area to choose or drop files and folders, with the list of uploads. Files are sent one after another: a browser
 * opens six connections to a server, and the rest of the page needs some of them.
 *
 * @param {Page} page
 * @param {object} options
 * @param {() => string} options.collectionId Of the collection that new documents come into; empty for none.
 * @param {(documents: Document[]) => void} options.onStored
 * @param {(text: Text) => void} options.announce
 */
export function uploadArea(page, { collectionId, onStored, announce }) {
  const { element, say } = page;
  const accept = [...ACCEPTED, ARCHIVE].join();
  const chooser = element("input", { type: "file", multiple: true, accept, hidden: true, onchange: take });
  // The native file control would use the browser's language instead of the page's.
  const button = say(element("button", { type: "button", className: "primary", onclick: () => chooser.click() }), {
    en: "Add documents",
    zh: "添加文档",
  });
  const folderButton = say(element("button", { type: "button", onclick: chooseFolder }), {
    en: "Add a folder",
    zh: "添加文件夹",
  });
  const hint = say(element("p", { className: "hint", id: "documents-upload-hint" }), {
    en: `Or drop files or folders here: ${FORMATS.join(", ")}, or a zip of them.`,
    zh: `也可以把文件或文件夹拖到这里：${FORMATS.join("、")}，或它们的 zip 压缩包。`,
  });
  button.setAttribute("aria-describedby", hint.id);
  const list = element("ul", { className: "uploads", role: "list" }); // Safari drops the role without markers
  const zone = element("div", { className: "dropzone" }, button, folderButton, chooser, hint);
  const fromUrl = uploadUrl(page, { collectionId, onStored, announce });
  const node = element("div", { className: "documents" }, zone, fromUrl.node, list);

  /** @type {(() => Promise<void>)[]} */
  const waiting = [];
  let working = false;

  function take() {
    add(chosenFiles(chooser.files));
    chooser.value = ""; // the same file may be chosen again
  }

  function chooseFolder() {
    const folder = element("input", { type: "file", webkitdirectory: true });
    folder.addEventListener("change", () => add(chosenFiles(folder.files)));
    folder.click();
  }

  /** @param {Found[]} found Files of a folder that cannot be read are left out; others are refused one by one. */
  function add(found) {
    const wanted = found.filter(({ path }) => !path.includes("/") || isAccepted(path));
    const left = found.length - wanted.length;
    announce({
      en: left > 0 ? `${left} files have formats that cannot be read, and are left out.` : "",
      zh: left > 0 ? `已略过 ${left} 个无法读取的文件。` : "",
    });
    for (const one of wanted) list.append(upload(one));
  }

  /** @param {Found} found */
  function upload(found) {
    const options = { collectionId: collectionId(), enqueue, onStored, onLeft: focus, announce };
    return uploadRow(page, found, options).node;
  }

  /** @param {() => Promise<void>} send */
  async function enqueue(send) {
    waiting.push(send);
    if (working) return;
    working = true;
    await null; // the row is not in the list yet
    while (waiting.length > 0) await waiting.shift()?.();
    working = false;
  }

  function focus() {
    button.focus();
  }

  return { node, add };
}

const FORMATS = ["pdf", "docx", "pptx", "xlsx", "odt", "rtf", "epub", "eml", "csv", "html", "md", "txt"];

/** @param {string} path */
function isAccepted(path) {
  return [...ACCEPTED, ARCHIVE].some((suffix) => path.toLowerCase().endsWith(suffix));
}
