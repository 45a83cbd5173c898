/** The panel of stage 3: upload documents, follow their ingestion, and ask questions about them. */

import { answerView } from "./answer.js";
import { questionForm } from "./ask-form.js";
import { documentList } from "./document-list.js";
import { uploadArea } from "./upload-area.js";

/** @typedef {import("../../shared/page/page.js").Page} Page */

export const title = { en: "Ask your documents", zh: "向文档提问" };

/**
 * @param {HTMLElement} root
 * @param {Page} page
 */
export function mount(root, page) {
  const { element, say } = page;
  const style = new URL("documents.css", import.meta.url).href; // the Content-Security-Policy forbids inline styles
  document.head.append(element("link", { rel: "stylesheet", href: style }));

  /** @type {AbortController | null} */
  let asking = null;

  // The live region for changes that the user did not trigger.
  const news = element("p", { className: "hint", role: "status" });
  /** @param {import("../../shared/page/language.js").Text} text */
  const announce = (text) => void say(news, text);

  const uploads = uploadArea(page, { onStored: (stored) => list.add(stored), announce });
  const list = documentList(page, {
    onTicked: (count) => form.showScope(count),
    onLastRemoved: uploads.focus,
    announce,
  });
  const form = questionForm(page, { onAsk: ask, onStop: () => asking?.abort() });
  const answer = answerView(page);
  const files = element("div", { className: "documents" }, uploads.node, news, list.node);
  root.classList.add("asks");
  root.append(element("section", {}, form.node), answer.node, files);
  takeDrops(root, uploads.add);
  list.load();

  /** @param {string} question */
  function ask(question) {
    const ids = list.ticked();
    return send({ question, ...(ids.length > 0 && { document_ids: ids }) });
  }

  /** @param {{question: string, document_ids?: string[]}} body */
  async function send(body) {
    if (asking) return;
    asking = new AbortController();
    const { signal } = asking; // an abort closes the connection, and the server then stops the model
    answer.start();
    form.setBusy(true);
    try {
      answer.finish(await readAnswer(body, signal), { narrowed: "document_ids" in body });
    } catch (error) {
      if (signal.aborted) answer.stop();
      else answer.fail(error, () => send(body));
    } finally {
      asking = null;
      form.setBusy(false);
    }
  }

  /**
   * @param {object} body
   * @param {AbortSignal} signal
   * @returns {Promise<import("./answer.js").Done>}
   */
  async function readAnswer(body, signal) {
    let done = null;
    for await (const { event, data } of page.streamEvents("documents/ask/stream", { body: { ...body, reasoning: true }, signal })) {
      if (event === "sources") answer.setSources(data.sources);
      if (event === "reasoning") answer.appendReasoning(data);
      if (event === "token") answer.append(data.text);
      if (event === "error") throw new page.Problem(data);
      if (event === "done") done = data;
    }
    if (!done) throw page.Problem.cut();
    return done;
  }
}

/**
 * Accept files dropped anywhere on the panel. Elsewhere, the drop is cancelled: the browser would leave the page.
 *
 * @param {HTMLElement} root
 * @param {(files: File[], folders: number) => void} onFiles
 */
function takeDrops(root, onFiles) {
  const isOver = (/** @type {DragEvent} */ event) => event.target instanceof Node && root.contains(event.target);
  for (const type of /** @type {const} */ (["dragover", "drop"])) {
    document.addEventListener(type, (event) => {
      const { dataTransfer } = event;
      if (!dataTransfer?.types.includes("Files")) return; // dragged text keeps its usual behaviour
      event.preventDefault();
      dataTransfer.dropEffect = isOver(event) ? "copy" : "none";
      root.classList.toggle("dropping", type === "dragover" && isOver(event));
      if (type === "drop" && isOver(event)) onFiles(...contentsOf(dataTransfer));
    });
  }
  document.addEventListener("dragleave", ({ relatedTarget }) => {
    if (!(relatedTarget instanceof Node && root.contains(relatedTarget))) root.classList.remove("dropping");
  });
}

/**
 * Return the dropped files and the number of dropped folders, which appear as files that cannot be read.
 *
 * @param {DataTransfer} dropped
 * @returns {[File[], number]}
 */
function contentsOf(dropped) {
  const items = [...dropped.items].filter(({ kind }) => kind === "file");
  const files = items.filter((item) => !item.webkitGetAsEntry()?.isDirectory);
  return [files.flatMap((item) => item.getAsFile() ?? []), items.length - files.length];
}
