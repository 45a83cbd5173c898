/** The panel of stage 3: upload documents, follow their ingestion, and ask questions about them. */

import { answerView } from "./answer.js";
import { questionForm } from "./ask-form.js";
import { receivedInvitations } from "./collection-invitations.js";
import { collectionEditor, collectionStore } from "./collections.js";
import { conversation } from "./conversation.js";
import { documentDetail } from "./document-detail.js";
import { documentList } from "./document-list.js";
import { takeDrops } from "./drops.js";
import { scopeOf } from "./scope.js";
import { searchResults } from "./search-results.js";
import { uploadArea } from "./upload-area.js";

/** @typedef {import("../../shared/page/page.js").Page} Page */

export const title = { en: "Ask your documents", zh: "向文档提问" };

const MIN_SCORE = 0.1; // of passages that are shown without an answer

/**
 * @param {HTMLElement} root
 * @param {Page} page
 */
export function mount(root, page) {
  const { element, say, request, problemNotice } = page;
  const style = new URL("documents.css", import.meta.url).href; // the Content-Security-Policy forbids inline styles
  document.head.append(element("link", { rel: "stylesheet", href: style }));

  /** @type {AbortController | null} */
  let asking = null;
  /** @type {ReturnType<typeof documentDetail> | null} */
  let detail = null;

  // The live region for changes that the user did not trigger.
  const news = element("p", { className: "hint", role: "status" });
  /** @param {import("../../shared/page/language.js").Text} text */
  const announce = (text) => void say(news, text);

  const collections = collectionStore(page);
  const list = documentList(page, { collections, onScope: showScope, announce });
  const uploads = uploadArea(page, {
    collectionId: () => list.wanted().collection?.id ?? "",
    onStored: (stored) => stored.forEach(list.add),
    announce,
  });
  const form = questionForm(page, { onAsk: ask, onFind: find, onStop: () => asking?.abort() });
  const talk = conversation(page);
  const hasUsers = Boolean(root.dataset.audience); // the section is for users who have signed in
  const editor = collectionEditor(page, collections, { hasUsers });
  const invitations = receivedInvitations(page, { onDecided: collections.load, announce });
  const parts = [invitations.node, uploads.node, news, list.node, editor.node];
  const files = element("div", { className: "documents" }, ...parts);
  const opened = element("div");
  root.classList.add("asks");
  root.append(element("section", {}, form.node), talk.node, element("div", { className: "documents" }, files, opened));
  takeDrops(root, uploads.add);
  page.onAddress((address) => open(address, { focus: true }));
  open(page.address(), { focus: false });
  load();

  async function load() {
    if (hasUsers) invitations.load();
    await Promise.all([list.load(), list.loadChoices(), collections.load().catch(reportUnlessProblem)]);
  }

  /** @param {unknown} error The list of documents shows the same problem. */
  function reportUnlessProblem(error) {
    if (!(error instanceof page.Problem)) throw error;
  }

  /**
   * Show the document of an address, such as `<id>` or `<id>/<page>`, or the list.
   *
   * @param {string} address
   * @param {{focus: boolean}} options
   */
  async function open(address, { focus }) {
    const [id, number] = address.split("/");
    const before = detail?.id ?? "";
    close();
    if (!id) {
      if (before && focus) list.focus(before);
      return;
    }
    files.hidden = true;
    try {
      const found = await (await request(`documents/${encodeURIComponent(id)}`)).json();
      if (page.address() !== address) return; // the user has gone on
      detail = documentDetail(page, found, {
        pageNumber: Number(number) || 1,
        collections,
        onChanged: changed,
        onDeleted: () => removed(id, found.filename),
      });
      opened.replaceChildren(detail.node);
      if (focus) detail.focus();
    } catch (error) {
      const back = say(element("a", { href: "#/documents" }), { en: "All documents", zh: "全部文档" });
      opened.replaceChildren(back, problemNotice(error, () => open(address, { focus })));
    }
    showScope();
  }

  function close() {
    detail?.close();
    detail = null;
    opened.replaceChildren();
    files.hidden = false;
    showScope();
  }

  /** @param {import("./document-state.js").Document} document */
  function changed(document) {
    list.add(document);
    list.loadChoices();
    showScope();
  }

  /**
   * @param {string} id
   * @param {string} filename
   */
  function removed(id, filename) {
    page.setAddress("", { replace: true });
    close();
    list.remove(id);
    list.focus("");
    announce({ en: `${filename} was deleted.`, zh: `${filename} 已删除。` });
  }

  function scope() {
    const open = detail?.document() ?? null;
    return scopeOf({ open, ticked: list.ticked(), ...list.wanted() }, collections.named);
  }

  function showScope() {
    form.showScope(scope().before);
  }

  /** @param {string} question */
  function ask(question) {
    if (asking) return;
    const { body, after } = scope();
    const history = talk.history();
    const answer = talk.start(question, answerView(page));
    return send({ question, ...body, ...(history.length > 0 && { history }) }, answer, after);
  }

  /** @param {string} query */
  async function find(query) {
    const { body, after } = scope();
    const results = talk.start(query, searchResults(page));
    results.start();
    try {
      const found = await request("documents/search", { method: "POST", body: { query, min_score: MIN_SCORE, ...body } });
      results.finish((await found.json()).hits, after);
    } catch (error) {
      results.fail(error, () => find(query));
    }
  }

  /**
   * @param {{question: string}} body
   * @param {ReturnType<typeof talk.start>} answer
   * @param {import("../../shared/page/language.js").Text} searched
   */
  async function send(body, answer, searched) {
    if (asking) return;
    asking = new AbortController();
    const { signal } = asking; // an abort closes the connection, and the server then stops the model
    answer.start();
    form.setBusy(true);
    try {
      answer.finish(await readAnswer(body, answer, signal), searched);
      talk.finish();
      form.clear(body.question);
    } catch (error) {
      if (signal.aborted) answer.stop();
      else answer.fail(error, () => send(body, answer, searched));
    } finally {
      asking = null;
      form.setBusy(false);
    }
  }

  /**
   * @param {object} body
   * @param {ReturnType<typeof talk.start>} answer
   * @param {AbortSignal} signal
   * @returns {Promise<import("./answer.js").Done>}
   */
  async function readAnswer(body, answer, signal) {
    let done = null;
    const asked = { body: { ...body, reasoning: true }, signal };
    for await (const { event, data } of page.streamEvents("documents/ask/stream", asked)) {
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
