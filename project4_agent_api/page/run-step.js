import { forkForm } from "./run-fork.js";
import { both, costText, durationText, tokensText } from "./run-texts.js";
import { valueViews } from "./run-values.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 * @typedef {import("./run-view.js").Run} Run
 *
 * @typedef {object} Step As the service describes it.
 * @property {string} checkpoint_id
 * @property {string} namespace
 * @property {number} step
 * @property {"input" | "loop" | "update" | "fork"} source
 * @property {number | null} attempt
 * @property {boolean} own
 * @property {string} started_at
 * @property {string | null} ended_at
 * @property {"done" | "failed" | "stopped" | "waiting" | "open" | "end"} status
 * @property {{name: string | null, writes: string[]}[]} tasks
 * @property {number} writes_omitted
 * @property {string[]} next
 * @property {{input: number, output: number} | null} tokens
 * @property {import("./run-texts.js").Cost | null} cost
 * @property {string | null} model
 * @property {string[]} calls
 * @property {string[]} tools
 * @property {string | null} continued_by
 *
 * @typedef {object} Surroundings
 * @property {number} from When the run began, in milliseconds since 1970.
 * @property {number} to When it ended, or now.
 * @property {number} attempt Of the step before.
 */

/** @type {Record<Step["status"], Text>} */
const STATUSES = {
  done: both(""),
  end: both(""),
  failed: { en: "failed", zh: "失败" },
  stopped: { en: "stopped", zh: "已停止" },
  waiting: { en: "asked you", zh: "向你提问" },
  open: { en: "not finished", zh: "未完成" },
};

/**
 * A step: a line with a time bar, and its details when it is opened.
 *
 * @param {Page} page
 * @param {Run} run
 * @param {Step} step
 * @param {Surroundings} surroundings
 * @param {{onForked: (runId: string) => void}} listeners
 */
export function stepView(page, run, step, { from, to, attempt }, { onForked }) {
  const { element, say, request, problemNotice } = page;
  const begins = Math.max(Date.parse(step.started_at), from); // a continued run's first step waited for a person
  const ends = step.ended_at ? Date.parse(step.ended_at) : step.status === "end" ? begins : to;
  const body = element("div", { className: "run-details" });
  const details = element("details", {}, summary(), body);
  details.addEventListener("toggle", () => details.open && body.childElementCount === 0 && load());
  const item = element("li", {}, details);
  item.style.setProperty("--depth", String(Math.min(parts(step.namespace).length, 6)));
  item.dataset.status = step.status;
  item.classList.toggle("silent", isSilent(step));
  if (attempt && step.attempt && step.attempt !== attempt) item.prepend(handedOver(step.attempt));

  function summary() {
    const bar = element("span", { className: "run-bar", ariaHidden: "true" });
    const whole = Math.max(to - from, 1);
    bar.style.setProperty("--start", `${Math.min(99.5, (100 * (begins - from)) / whole)}%`);
    bar.style.setProperty("--length", `${(100 * (ends - begins)) / whole}%`);
    const facts = [
      step.calls.length > 0 ? { en: `calls ${step.calls.join(", ")}`, zh: `调用 ${step.calls.join("、")}` } : null,
      step.tools.length > 0 ? both(step.tools.join(", ")) : null,
      step.model ? both(step.model) : null,
      step.tokens ? tokensText(step.tokens) : null,
      step.cost && step.cost.amount !== null ? costText(step.cost) : null,
    ];
    const known = facts.filter((fact) => fact !== null);
    const status = say(element("span", { className: "run-status" }), STATUSES[step.status]);
    status.dataset.status = step.status;
    const times = say(element("span", { className: "run-times" }), step.status === "end" ? both("") : durationText(ends - begins));
    const where = parts(step.namespace).join(" › ");
    return element(
      "summary",
      {},
      ...(where ? [element("span", { className: "hint" }, `${where} › `)] : []),
      say(element("span", { className: "run-node" }), nameOf(step)),
      status,
      element("span", { className: "run-facts hint" }, ...known.map((fact) => say(element("span"), fact))),
      times,
      bar,
    );
  }

  /** @param {number} number */
  function handedOver(number) {
    return say(element("p", { className: "run-attempt" }), {
      en: `Attempt ${number}: another worker went on here.`,
      zh: `第 ${number} 次尝试：由另一个 worker 从这里继续。`,
    });
  }

  async function load() {
    try {
      const query = new URLSearchParams({ namespace: step.namespace });
      const read = await (await request(`runs/${run.run_id}/steps/${step.checkpoint_id}?${query}`)).json();
      body.replaceChildren(...content(read));
    } catch (error) {
      body.replaceChildren(problemNotice(error, load));
    }
  }

  /** @param {any} read The step's details. */
  function content(read) {
    const { messagesView, changeView } = valueViews(page);
    /** @type {Node[]} */
    const nodes = [];
    if (step.continued_by) nodes.push(continued(step.continued_by));
    if (read.messages.length > 0) nodes.push(promptView(read, messagesView(read.messages)));
    nodes.push(...read.tasks.map(taskView));
    if (step.writes_omitted > 0) {
      const count = step.writes_omitted;
      const text = { en: `${count} more values were written.`, zh: `另外写入了 ${count} 个值，此处未显示。` };
      nodes.push(say(element("p", { className: "hint" }), text));
    }
    if (read.changes.length > 0) {
      const list = element("ul", { className: "run-changes", role: "list" }, ...read.changes.map(changeView));
      const channels = read.changes.map((/** @type {any} */ change) => change.channel);
      const text = { en: `State changes: ${channels.join(", ")}`, zh: `状态变化：${channels.join("、")}` };
      nodes.push(element("details", { className: "run-part" }, say(element("summary"), text), list));
    }
    if (read.cut) nodes.push(cutNotice());
    if (nodes.length === 0) {
      nodes.push(say(element("p", { className: "hint" }), { en: "Nothing was written.", zh: "没有写入任何内容。" }));
    }
    if (step.namespace === "") {
      const hasMessages = read.messages_total !== null || step.tasks.some(({ writes }) => writes.includes("messages"));
      nodes.push(forkForm(page, run, step, { hasMessages, onForked }));
    } else {
      nodes.push(
        say(element("p", { className: "hint" }), {
          en: "A subgraph starts anew when a run is repeated: run again from the step of the graph that calls it.",
          zh: "重新运行时，子图总是从头开始：请从调用它的那一步重新运行。",
        }),
      );
    }
    return nodes;
  }

  /**
   * @param {any} read
   * @param {Node} messages
   */
  function promptView(read, messages) {
    const total = read.messages_total;
    const left = total - read.messages.length;
    const text = step.model
      ? { en: `Prompt: the messages of the state (${total})`, zh: `提示词：状态中的消息（${total} 条）` }
      : { en: `State before: ${total} messages`, zh: `之前的状态：${total} 条消息` };
    const node = element("details", { className: "run-prompt" }, say(element("summary"), text));
    if (step.model) {
      const gone = {
        en: "System prompts and definitions of tools are not stored, so they are not shown here.",
        zh: "系统提示词和工具定义没有保存，因此这里不显示。",
      };
      node.append(say(element("p", { className: "hint" }), gone));
    }
    if (left > 0) {
      const earlier = { en: `${left} earlier ones are left out.`, zh: `更早的 ${left} 条未显示。` };
      node.append(say(element("p", { className: "hint" }), earlier));
    }
    node.append(messages);
    return node;
  }

  /** @param {any} task */
  function taskView(task) {
    const { valueView, labelled, json } = valueViews(page);
    const node = element("section", { className: "run-task" });
    if (step.tasks.length > 1 || task.failed) node.append(element("h4", {}, task.name ?? task.id));
    for (const question of task.questions) node.append(labelled({ en: "Question", zh: "问题" }, json(question)));
    for (const answer of step.continued_by ? [] : task.answers) {
      node.append(labelled({ en: "Answer", zh: "回答" }, json(answer)));
    }
    if (task.failed) {
      const known = run.error && run.error.message;
      const text = { en: "The node failed.", zh: "节点执行失败。" };
      node.append(say(element("p", { className: "run-failure" }), text));
      if (known) node.append(element("p", { className: "detail", lang: "en" }, `${run.error.error}: ${known}`));
    }
    for (const { channel, value, cut, bytes } of step.continued_by ? [] : task.written) {
      if (Array.isArray(value) && value.length === 0) continue; // nothing to add
      const shown = cut && value === null ? json(`… (${bytes} bytes)`) : valueView(value);
      node.append(labelled({ en: `wrote ${channel}`, zh: `写入 ${channel}` }, shown));
    }
    return node;
  }

  /** @param {string} id */
  function continued(id) {
    const link = say(element("a", { href: `#/runs/${id}` }), { en: "the run that went on", zh: "继续执行的运行" });
    const text = say(element("span"), {
      en: "The answer, and what came of it, are in ",
      zh: "回答和后续内容在：",
    });
    return element("p", { className: "hint" }, text, link);
  }

  function cutNotice() {
    const node = say(element("p", { className: "hint" }), {
      en: "Long values are cut.",
      zh: "过长的内容已截断。",
    });
    if (step.namespace !== "") return node;
    const path = `threads/${run.thread_id}/state/${step.checkpoint_id}`;
    const save = say(element("button", { type: "button" }), { en: "Save the whole state", zh: "保存完整状态" });
    save.onclick = () => page.download(path, `state-${step.checkpoint_id}.json`).catch((error) => body.append(problemNotice(error)));
    return element("div", { className: "run-part" }, node, save);
  }

  return item;
}

/** @param {Step} step */
function nameOf({ status, source, tasks, next }) {
  if (status === "end") return { en: "End", zh: "结束" };
  if (source === "input") return { en: "Input", zh: "输入" };
  const names = [...new Set([...tasks.map(({ name }) => name ?? "…"), ...next])];
  return names.length > 0 ? both(names.join(", ")) : { en: "Step", zh: "步骤" };
}

/** @param {Step} step Whether its nodes wrote nothing to the state, as those that only check something. */
function isSilent({ status, source, tasks }) {
  return status === "done" && source !== "input" && tasks.every(({ writes }) => writes.length === 0);
}

/** @param {string} namespace The names of the graphs around a step. */
function parts(namespace) {
  return namespace ? namespace.split("|").map((part) => part.split(":")[0]) : [];
}
