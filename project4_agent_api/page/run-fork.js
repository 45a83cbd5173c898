/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("./run-view.js").Run} Run
 * @typedef {import("./run-step.js").Step} Step
 */

const LONGEST_MESSAGE = 20_000;

/**
 * Start a new run at a step, unchanged or with a message, by the same request as any other run: with the same limits,
 * and the tools ask for approval again.
 *
 * @param {Page} page
 * @param {Run} run
 * @param {Step} step
 * @param {{hasMessages: boolean, onForked: (runId: string) => void}} options
 */
export function forkForm({ element, say, field, request, problemNotice }, run, step, { hasMessages, onForked }) {
  const isInput = step.source === "input";
  const message = field({
    id: `run-fork-${step.checkpoint_id}`,
    control: element("textarea", { rows: 2, maxLength: LONGEST_MESSAGE }),
    label: isInput
      ? { en: "Another message instead (optional)", zh: "换一条消息（可选）" }
      : { en: "Add a message here (optional)", zh: "在此处添加一条消息（可选）" },
    check: () => null,
  });
  const start = say(element("button", { type: "submit", className: "primary" }), {
    en: "Start a new run",
    zh: "开始新的运行",
  });
  const trouble = element("div");
  const about = say(element("p", { className: "hint" }), {
    en: "A new run on the same thread, from the state before this step. The thread goes on from there; this run stays as it is. Tools ask for approval again.",
    zh: "在同一对话中新建一次运行，从这一步之前的状态开始。对话从那里继续，本次运行保持不变；工具会再次请求批准。",
  });
  const form = element("form", { noValidate: true }, about);
  if (hasMessages) form.append(message.node);
  form.append(element("div", { className: "buttons" }, start), trouble);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    fork();
  });

  async function fork() {
    start.disabled = true;
    try {
      const text = hasMessages ? message.control.value.trim() : "";
      const body = {
        assistant_id: run.assistant_id,
        checkpoint_id: step.checkpoint_id,
        input: text ? { messages: [{ role: "user", content: text }] } : null,
        context: run.context && Object.keys(run.context).length > 0 ? run.context : undefined,
        stream_mode: ["messages-tuple", "values", "updates"],
      };
      const made = await (await request(`threads/${run.thread_id}/runs`, { method: "POST", body })).json();
      document.dispatchEvent(new CustomEvent("run-created", { detail: run.thread_id })); // the chat may show the thread
      onForked(made.run_id);
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, fork));
    } finally {
      start.disabled = false;
    }
  }

  const summary = say(element("summary"), { en: "Run again from here…", zh: "从这里重新运行……" });
  return element("details", { className: "run-fork" }, summary, form);
}
