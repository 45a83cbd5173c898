/** The main panel of stage 4: threads, and in each a conversation with an agent, with its tool calls and approvals. */

import { approvalForm } from "./approval.js";
import { assistantChoice } from "./assistant-choice.js";
import { composer } from "./composer.js";
import { conversationView } from "./conversation.js";
import { ratingView } from "./rating.js";
import { runEvents } from "./run-events.js";
import { threadList } from "./thread-list.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 * @typedef {{error: string, message: string}} Failure What a run says of its own.
 */

export const title = { en: "Chat", zh: "对话" };

const STREAM_MODES = ["messages-tuple", "values", "updates"];
const LONGEST_TITLE = 80;

/**
 * @param {HTMLElement} root
 * @param {Page} page
 */
export function mount(root, page) {
  const { element, say, request, problemNotice } = page;
  const style = new URL("chat.css", import.meta.url).href; // the Content-Security-Policy forbids inline styles
  document.head.append(element("link", { rel: "stylesheet", href: style }));
  let threadId = "";
  let runId = "";
  let reading = new AbortController(); // for the current thread; opening another one aborts it

  const threads = threadList(page, {
    onNew: () => openNew(),
    onDeleted: (id) => id === threadId && openNew({ replace: true }),
  });
  const choice = assistantChoice(page, { onSchema: (schema) => form.setSchema(schema) });
  const conversation = conversationView(page);
  const status = element("p", { className: "hint", role: "status" });
  const insight = say(element("a", { className: "insight", hidden: true }), {
    en: "What it did",
    zh: "运行详情",
  });
  const rating = ratingView(page);
  const approval = element("div");
  const trouble = element("div");
  const form = composer(page, { onSend: ask, onStop: stop });
  const talk = element("div", { className: "talk" });
  talk.append(choice.node, conversation.node, status, insight, rating.node, approval, trouble, form.node);
  root.classList.add("chat");
  root.append(element("div", { className: "console" }, threads.node, talk));
  start();

  async function start() {
    conversation.clear({ isNew: !page.address() });
    threads.load();
    page.onAddress((id) => id !== threadId && open(id));
    // The view of runs has started a run on this thread.
    document.addEventListener("run-created", (event) => {
      if (/** @type {CustomEvent<string>} */ (event).detail === threadId) open(threadId);
    });
    await choice.load();
    if (!threadId && page.address()) await open(page.address()); // unless the user was faster
  }

  /** @param {{replace?: boolean}} [options] `replace` the deleted thread in the browser's history. */
  function openNew(options) {
    page.setAddress("", options);
    open("");
  }

  /** @param {string} id A thread id; "" for a new thread. */
  async function open(id) {
    reading.abort();
    reading = new AbortController();
    threadId = id;
    threads.choose(id);
    conversation.clear({ isNew: !id });
    rating.hide();
    showRun("");
    choice.free();
    tell(SILENCE);
    settle();
    if (id) await load(reading.signal);
  }

  /**
   * Show what the thread holds, and go on reading where a run goes on.
   *
   * @param {AbortSignal} signal
   * @param {Text} [ending] What is said if nothing more is to be said.
   */
  async function load(signal, ending = SILENCE) {
    try {
      const paths = ["", "/state", "/runs"].map((path) => `threads/${threadId}${path}`);
      const answers = await Promise.all(paths.map((path) => request(path, { signal })));
      const [thread, state, runs] = await Promise.all(answers.map((answer) => answer.json()));
      if (signal.aborted) return;
      conversation.setValues(state.values);
      conversation.forgetPieces();
      await choice.keepTo(thread.metadata);
      // Waiting runs are executed oldest first.
      const unfinished = runs.findLast((/** @type {any} */ run) => ["pending", "running"].includes(run.status));
      if (signal.aborted) return;
      if (unfinished) return await follow({ runId: unfinished.run_id });
      settle();
      showRun(runs[0]?.run_id ?? "");
      if (state.interrupts.length > 0) return askFor(state.interrupts);
      await rating.show(runs[0]?.status === "success" ? runs[0].run_id : "", signal);
      if (signal.aborted) return;
      tell(thread.status === "error" ? SILENCE : ending);
      if (thread.status === "error") trouble.replaceChildren(failureNotice(thread.error));
      else if (state.next.length > 0) trouble.replaceChildren(unfinishedNotice());
    } catch (error) {
      if (signal.aborted) return;
      settle();
      tell(SILENCE);
      trouble.replaceChildren(problemNotice(error, () => load(signal, ending)));
    }
  }

  /**
   * @param {object} input
   * @param {string} text What it is called.
   */
  async function ask(input, text) {
    const { signal } = reading;
    begin();
    try {
      if (!threadId) await makeThread(text, signal);
      if (signal.aborted) return;
      if ("messages" in input) conversation.addQuestion(text);
      await follow(begun({ input }), { onBegun: form.clear });
    } catch (error) {
      if (signal.aborted) return;
      settle();
      tell(SILENCE);
      trouble.replaceChildren(problemNotice(error, () => ask(input, text)));
    }
  }

  /**
   * @param {string} text
   * @param {AbortSignal} signal
   */
  async function makeThread(text, signal) {
    const metadata = { title: [...text].slice(0, LONGEST_TITLE).join("") };
    const made = await (await request("threads", { method: "POST", body: { metadata }, signal })).json();
    threadId = made.thread_id;
    page.setAddress(threadId, { replace: true });
    threads.choose(threadId);
    threads.load();
  }

  /** @param {object} what An input or a command. */
  function begun(what) {
    return { body: { assistant_id: choice.chosen(), stream_mode: STREAM_MODES, ...what } };
  }

  /**
   * Read a run to its end, then what the thread holds.
   *
   * @param {{body: object} | {runId: string}} run
   * @param {{onBegun?: () => void}} [listeners]
   */
  async function follow(run, { onBegun } = {}) {
    const { signal } = reading;
    begin();
    for await (const { event, data } of runEvents(page, threadId, run, signal)) {
      if (signal.aborted) return;
      if (event === "metadata") {
        runId = data.run_id;
        showRun(runId);
        conversation.forgetPieces(); // this may be another attempt, which writes everything again
        tell({ en: "Working…", zh: "处理中……" });
        onBegun?.();
      }
      if (event === "values") conversation.setValues(data);
      if (event === "messages") conversation.addPiece(data[0]);
      if (event === "updates") conversation.addStep(data);
    }
    threads.load(); // its position in the list has changed
    await load(signal, { en: "Done.", zh: "完成。" });
  }

  /** @param {object} what */
  async function goOn(what) {
    const { signal } = reading;
    try {
      await follow(begun(what));
    } catch (error) {
      if (signal.aborted) return;
      settle();
      tell(SILENCE);
      trouble.replaceChildren(problemNotice(error, () => goOn(what)));
    }
  }

  async function stop() {
    if (!runId) return;
    tell({ en: "Stopping…", zh: "正在停止……" });
    try {
      await request(`threads/${threadId}/runs/${runId}/cancel`, { method: "POST" });
    } catch (error) {
      if (!(error instanceof page.Problem && error.status === 404)) trouble.replaceChildren(problemNotice(error, stop));
    }
  }

  /** @param {import("./approval.js").Interrupt[]} interrupts */
  function askFor(interrupts) {
    const asked = approvalForm(page, interrupts, (resume) => goOn({ command: { resume } }));
    approval.replaceChildren(asked.node);
    conversation.setPhase("waiting");
    form.setState({ busy: false, asking: true });
    tell({ en: "The assistant is waiting for your decision.", zh: "助手正在等待你的决定。" });
    asked.focus();
  }

  function begin() {
    runId = "";
    rating.hide();
    approval.replaceChildren();
    trouble.replaceChildren();
    conversation.clearSteps();
    conversation.setPhase("running");
    form.setState({ busy: true, asking: false });
    tell({ en: "Waiting for a worker…", zh: "正在等待处理……" });
  }

  function settle() {
    runId = "";
    approval.replaceChildren();
    trouble.replaceChildren();
    conversation.setPhase("over");
    form.setState({ busy: false, asking: false });
  }

  /** @param {string} id The run whose steps are linked; "" for none. */
  function showRun(id) {
    insight.hidden = id === "";
    insight.href = `#/runs/${id}`;
  }

  /** @param {Text} message */
  function tell(message) {
    say(status, message);
  }

  /** @param {Failure | null} failure */
  function failureNotice(failure) {
    const alert = say(element("p", { role: "alert" }), {
      en: "The answer could not be completed.",
      zh: "回答没有完成。",
    });
    const words = element("p", { className: "detail", lang: "en" }, failure?.message ?? "");
    return element("div", { className: "problem" }, alert, words, goOnButton({ en: "Try again", zh: "重试" }));
  }

  function unfinishedNotice() {
    const words = say(element("p", { className: "hint" }), {
      en: "The last run was stopped before it finished.",
      zh: "上一次运行在结束前被停止。",
    });
    return element("div", { className: "unfinished" }, words, goOnButton({ en: "Continue", zh: "继续" }));
  }

  /** @param {Text} text */
  function goOnButton(text) {
    // Without an input, a run resumes from the last checkpoint: completed steps are not repeated.
    return say(element("button", { type: "button", onclick: () => goOn({ input: null }) }), text);
  }
}

/** @type {Text} */
const SILENCE = { en: "", zh: "" };
