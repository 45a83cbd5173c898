/** Stage 1's panel: ask the model, stream the answer, show the history. */

import { questionForm } from "./ask-form.js";
import { answerView } from "./answer.js";
import { historyList } from "./history.js";

/** @typedef {import("../../shared/page/page.js").Page} Page */

export const title = { en: "Ask the model", zh: "向模型提问" };

/**
 * @param {HTMLElement} root
 * @param {Page} page
 */
export function mount(root, page) {
  /** @type {AbortController | null} */
  let asking = null;

  const form = questionForm(page, { onAsk: ask, onStop: () => asking?.abort() });
  const answer = answerView(page);
  const history = historyList(page);
  root.append(form.node, answer.node, history.node);
  history.load();

  /** @param {import("./ask-form.js").AskRequest} body */
  async function ask(body) {
    if (asking) return;
    asking = new AbortController();
    const { signal } = asking; // an abort closes the connection, and the server stops the model
    answer.start();
    form.setBusy(true);
    try {
      const done = await readAnswer(body, signal);
      answer.finish(done);
      history.loadUntilShown(done.id);
    } catch (error) {
      if (signal.aborted) answer.stop();
      else answer.fail(error, () => ask(body));
    } finally {
      asking = null;
      form.setBusy(false);
    }
  }

  /**
   * @param {import("./ask-form.js").AskRequest} body
   * @param {AbortSignal} signal
   * @returns {Promise<import("./answer.js").Done>}
   */
  async function readAnswer(body, signal) {
    let done = null;
    for await (const { event, data } of page.streamEvents("ask/stream", { body: { ...body, reasoning: true }, signal })) {
      if (event === "reasoning") answer.appendReasoning(data);
      if (event === "token") answer.append(data.text);
      if (event === "error") throw new page.Problem(data);
      if (event === "done") done = data;
    }
    if (!done) throw page.Problem.cut();
    return done;
  }
}
