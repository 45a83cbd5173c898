import { stepView } from "./run-step.js";
import { storedEvents } from "./run-stored-events.js";
import { both, costText, dateText, durationText, statusChip } from "./run-texts.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 * @typedef {import("./run-step.js").Step} Step
 * @typedef {import("./run-list.js").RunListed} RunListed
 *
 * @typedef {RunListed & {
 *   thread_status: string,
 *   failures: number,
 *   error: Record<string, any> | null,
 *   request_id: string | null,
 *   durability: string,
 *   context: Record<string, any> | null,
 *   due_at: string,
 *   steps: number,
 *   tokens_complete: boolean,
 *   events_kept: boolean | null,
 * }} Run
 */

const PAGE_SIZE = 100;
const POLL_MILLISECONDS = 1500; // while the run goes on

/**
 * What a run did: its facts, and its steps in the order in which they started.
 *
 * @param {Page} page
 * @param {string} id
 * @param {{signal: AbortSignal, onForked: (runId: string) => void}} options
 */
export function runView(page, id, { signal, onForked }) {
  const { element, say, request, problemNotice } = page;
  const back = say(element("a", { href: "#/runs" }), { en: "← All runs", zh: "← 全部运行" });
  const head = element("div", { className: "run-head" });
  const list = element("ol", { className: "run-steps terse", role: "list" });
  const more = say(element("button", { type: "button", hidden: true, onclick: () => loadMore() }), {
    en: "More steps",
    zh: "更多步骤",
  });
  const quiet = element("input", { type: "checkbox", id: "run-quiet", onchange: showQuiet });
  const quietLabel = say(element("label", { htmlFor: quiet.id }), {
    en: "Also show steps that wrote nothing to the state",
    zh: "同时显示没有写入状态的步骤",
  });
  const filter = element("p", { className: "run-quiet", hidden: true }, quiet, quietLabel);
  const events = element("div");
  const trouble = element("div");
  const node = element("div", { className: "run-view" }, element("p", {}, back), head, filter, list, more, events, trouble);

  /** @type {Run} */
  let run;
  /** @type {{step: Step, node: HTMLElement}[]} */
  let steps = [];
  let next = ""; // the step after which the next page begins
  // Long runs are read as the reader comes to their end.
  const watching = new IntersectionObserver((entries) => entries.some((one) => one.isIntersecting) && loadMore(), {
    rootMargin: "50%",
  });
  signal.addEventListener("abort", () => watching.disconnect());

  async function load() {
    try {
      const [details, first] = await Promise.all([request(`runs/${id}`, { signal }), read("")]);
      run = await details.json();
      show(first, 0);
      showHead();
      trouble.replaceChildren();
      if (isUnfinished()) later();
    } catch (error) {
      if (!signal.aborted) trouble.replaceChildren(notice(error, load));
    }
  }

  /** @param {string} after */
  async function read(after) {
    const query = new URLSearchParams({ limit: String(PAGE_SIZE), ...(after ? { after } : {}) });
    const response = await request(`runs/${id}/steps?${query}`, { signal });
    return { found: await response.json(), next: response.headers.get("X-Pagination-Next") ?? "" };
  }

  /** @type {Promise<void> | null} */
  let loading = null;

  function loadMore() {
    if (next === "") return;
    loading ??= read(next)
      .then((following) => show(following, steps.length))
      .catch((error) => void (signal.aborted || trouble.replaceChildren(problemNotice(error, loadMore))))
      .finally(() => (loading = null));
  }

  /**
   * @param {{found: Step[], next: string}} read
   * @param {number} place Of the first one; those that are shown from there on are replaced.
   */
  function show({ found, next: following }, place) {
    next = following;
    more.hidden = next === "";
    const from = Date.parse(run.started_at ?? run.created_at);
    const to = isUnfinished() ? Math.max(Date.now(), from + 1) : Date.parse(run.updated_at);
    for (const [at, step] of found.entries()) {
      const known = steps[place + at];
      if (known && JSON.stringify(known.step) === JSON.stringify(step)) continue; // stays open
      const attempt = steps[place + at - 1]?.step.attempt ?? 0;
      const node = stepView(page, run, step, { from, to, attempt }, { onForked });
      if (known) known.node.replaceWith(node);
      else list.append(node);
      steps[place + at] = { step, node };
    }
    showFilter();
    watching.unobserve(more); // it may still be visible, which is no change to report
    watching.observe(more);
  }

  function showFilter() {
    const hasQuiet = list.querySelector(".silent") !== null;
    const hasOthers = list.querySelector("li:not(.silent)") !== null;
    filter.hidden = !hasQuiet;
    if (hasQuiet && !hasOthers) quiet.checked = true;
    showQuiet();
  }

  function showQuiet() {
    list.classList.toggle("terse", !quiet.checked);
  }

  function later() {
    setTimeout(async () => {
      if (signal.aborted) return;
      if (node.offsetParent === null || document.hidden) return later(); // nobody looks
      try {
        run = await (await request(`runs/${id}`, { signal })).json();
        // What has ended stays as it is.
        const first = steps.findIndex(({ step }) => step.status !== "done");
        const place = first < 0 ? steps.length : first;
        const changed = await read(steps[place - 1]?.step.checkpoint_id ?? "");
        if (next === "" || place < steps.length) show(changed, place);
        showHead();
      } catch (error) {
        if (!signal.aborted) trouble.replaceChildren(problemNotice(error));
      }
      if (isUnfinished()) later();
    }, POLL_MILLISECONDS);
  }

  function isUnfinished() {
    return run.status === "pending" || run.status === "running";
  }

  function showHead() {
    const heading = element("h3", {}, run.title ?? run.graph_id ?? run.run_id);
    const chip = statusChip(page, run);
    chip.setAttribute("role", "status");
    const thread = say(element("a", { href: `#/chat/${run.thread_id}` }), { en: "Open the conversation", zh: "打开对话" });
    head.replaceChildren(element("div", { className: "run-title" }, heading, chip), facts(), thread, ...notices());
    if (run.events_kept && !isUnfinished() && events.childElementCount === 0) {
      events.append(storedEvents(page, run, signal));
    }
  }

  function facts() {
    const begun = run.started_at && Date.parse(run.started_at);
    const list = element("dl", { className: "facts" });
    fact({ en: "Graph", zh: "图" }, both(run.graph_id ?? ""));
    fact({ en: "Created", zh: "创建" }, dateText(run.created_at));
    if (begun) fact({ en: "Waited", zh: "等待" }, durationText(begun - Date.parse(run.due_at)));
    if (begun && !isUnfinished()) fact({ en: "Took", zh: "用时" }, durationText(Date.parse(run.updated_at) - begun));
    fact({ en: "Steps", zh: "步骤" }, both(String(run.steps)));
    if (run.tokens) fact({ en: "Tokens", zh: "Token" }, totalText(run.tokens));
    if (run.cost) fact({ en: "Cost", zh: "费用" }, costText(run.cost));
    fact({ en: "Attempts", zh: "尝试次数" }, attemptsText());
    if (run.request_id) put({ en: "Request ID", zh: "请求编号" }, requestId(run.request_id));
    return list;

    /**
     * @param {Text} name
     * @param {Text} value
     */
    function fact(name, value) {
      put(name, say(element("span"), value));
    }

    /**
     * @param {Text} name
     * @param {Node} value
     */
    function put(name, value) {
      list.append(element("div", {}, say(element("dt"), name), element("dd", {}, value)));
    }
  }

  /** @param {NonNullable<Run["tokens"]>} tokens */
  function totalText({ input, cached_input: cached, output, total }) {
    const least = run.tokens_complete ? { en: "", zh: "" } : { en: "at least ", zh: "至少 " };
    return {
      en: `${least.en}${total} (${input} in${cached ? `, ${cached} of them cached` : ""}, ${output} out)`,
      zh: `${least.zh}${total}（输入 ${input}${cached ? `，其中缓存 ${cached}` : ""}，输出 ${output}）`,
    };
  }

  function attemptsText() {
    const { attempt, failures } = run;
    if (failures === 0) return both(String(attempt));
    return { en: `${attempt} (workers lost: ${failures})`, zh: `${attempt}（丢失 worker：${failures}）` };
  }

  /**
   * The id; where the X-ray of requests is on the page, it leads there.
   *
   * @param {string} requestId
   */
  function requestId(requestId) {
    const code = element("code", {}, requestId);
    const hasXray = document.querySelector('[data-module$="/xray.js"]') !== null;
    const href = `?xray=${encodeURIComponent(requestId)}#/runs/${id}`;
    return hasXray ? element("a", { href }, code) : code;
  }

  function notices() {
    /** @type {(Text | false | undefined)[]} */
    const texts = [
      run.waiting && { en: "The conversation waits for your answer.", zh: "对话正在等待你的回答。" },
      run.steps === 0 && !isUnfinished() && {
        en: "No step of this run is stored: it was stopped before it started, or its states were deleted.",
        zh: "没有保存任何步骤：运行在开始前被停止，或者状态已被删除。",
      },
      run.durability === "exit" && {
        en: "This run stored only its last state (durability “exit”), so its steps are missing.",
        zh: "本次运行只保存了最后的状态（durability 为 exit），因此没有各个步骤。",
      },
      run.events_kept === false && {
        en: "Its events have expired. What is shown here comes from the stored states; streamed texts and custom events are gone.",
        zh: "事件已经过期。这里显示的内容来自保存的状态；流式文本和自定义事件已不存在。",
      },
    ];
    const nodes = texts.filter((text) => typeof text === "object").map((text) => say(element("p", { className: "hint" }), text));
    if (run.error && run.status !== "interrupted") nodes.unshift(failure(run.error));
    return nodes;
  }

  /** @param {Record<string, any>} error */
  function failure(error) {
    return element("p", { className: "run-failure", lang: "en" }, `${error.error}: ${error.message}`);
  }

  /**
   * @param {unknown} error
   * @param {() => void} retry
   */
  function notice(error, retry) {
    const shown = problemNotice(error, retry);
    if (error instanceof page.Problem && error.status === 404) {
      const gone = {
        en: "Runs are deleted with their conversation; a run without a conversation is deleted as soon as it has ended.",
        zh: "运行随对话一起删除；没有对话的运行在结束后立即删除。",
      };
      shown.append(say(element("p", { className: "hint" }), gone));
    }
    return shown;
  }

  return { node, load };
}
