/**
 * @typedef {object} Found A file, and where it is in the dropped or chosen folder.
 * @property {File} file
 * @property {string} path Its name, with those of the folders before it.
 */

const MAX_FILES = 1000; // of a folder

/**
 * Accept files and folders dropped anywhere on the panel. Elsewhere, the drop is cancelled: the browser would leave the
 * page.
 *
 * @param {HTMLElement} root
 * @param {(found: Found[]) => void} onFiles
 */
export function takeDrops(root, onFiles) {
  const isOver = (/** @type {DragEvent} */ event) => event.target instanceof Node && root.contains(event.target);
  for (const type of /** @type {const} */ (["dragover", "drop"])) {
    document.addEventListener(type, async (event) => {
      const { dataTransfer } = event;
      if (!dataTransfer?.types.includes("Files")) return; // dragged text keeps its usual behaviour
      event.preventDefault();
      dataTransfer.dropEffect = isOver(event) ? "copy" : "none";
      root.classList.toggle("dropping", type === "dragover" && isOver(event));
      if (type === "drop" && isOver(event)) onFiles(await contentsOf(dataTransfer));
    });
  }
  document.addEventListener("dragleave", ({ relatedTarget }) => {
    if (!(relatedTarget instanceof Node && root.contains(relatedTarget))) root.classList.remove("dropping");
  });
}

/**
 * Return the files of an `<input webkitdirectory>`.
 *
 * @param {FileList | null} files
 * @returns {Found[]}
 */
export function chosenFiles(files) {
  const found = [...(files ?? [])].map((file) => ({ file, path: file.webkitRelativePath || file.name }));
  return found.filter(({ path }) => !isHidden(path)).slice(0, MAX_FILES);
}

/**
 * Return the dropped files, and those in dropped folders.
 *
 * @param {DataTransfer} dropped
 * @returns {Promise<Found[]>}
 */
async function contentsOf(dropped) {
  const items = [...dropped.items].filter(({ kind }) => kind === "file");
  // All at once: the list is empty after the first pause.
  const taken = items.map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() }));
  /** @type {Found[]} */
  const found = [];
  for (const { entry, file } of taken) {
    if (entry?.isDirectory) await collect(/** @type {FileSystemDirectoryEntry} */ (entry), found);
    else if (file) found.push({ file, path: file.name });
  }
  return found;
}

/**
 * @param {FileSystemDirectoryEntry} folder
 * @param {Found[]} found
 */
async function collect(folder, found) {
  const reader = folder.createReader();
  while (found.length < MAX_FILES) {
    /** @type {FileSystemEntry[]} */
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // a hundred at a time
    if (entries.length === 0) return;
    for (const entry of entries) {
      const path = entry.fullPath.replace(/^\//, "");
      if (isHidden(path) || found.length >= MAX_FILES) continue;
      if (entry.isDirectory) await collect(/** @type {FileSystemDirectoryEntry} */ (entry), found);
      else found.push({ file: await fileOf(/** @type {FileSystemFileEntry} */ (entry)), path });
    }
  }
}

/**
 * @param {FileSystemFileEntry} entry
 * @returns {Promise<File>}
 */
function fileOf(entry) {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

/** @param {string} path */
function isHidden(path) {
  return path.split("/").some((part) => part.startsWith(".") || part === "__MACOSX");
}
