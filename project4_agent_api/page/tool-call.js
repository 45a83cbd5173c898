/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 * @typedef {import("./messages.js").ToolCall} ToolCall
 * @typedef {import("./messages.js").Message} Message
 * @typedef {"running" | "waiting" | "over"} Phase Of the thread: a run goes on, a person is asked, neither.
 */

/**
 * A tool call: its name, arguments and result.
 *
 * @param {Page} page
 */
export function toolCallView({ element, say }) {
  const name = element("code");
  const state = element("span", { className: "hint" });
  const args = element("pre");
  const resultLabel = say(element("p", { className: "hint" }), { en: "Result", zh: "结果" });
  const result = element("pre", { tabIndex: 0 }); // focusable, so that a long result can be scrolled with the keyboard
  result.setAttribute("role", "group");
  const node = element(
    "details",
    { className: "tool-call", open: true },
    element("summary", {}, name, " ", state),
    say(element("p", { className: "hint" }), { en: "Arguments", zh: "参数" }),
    args,
    resultLabel,
    result,
  );

  /**
   * @param {ToolCall} call
   * @param {Message | undefined} answer
   * @param {Phase} phase
   */
  function show(call, answer, phase) {
    name.textContent = call.name;
    args.textContent = typeof call.args === "string" ? call.args : JSON.stringify(call.args, null, 2);
    result.textContent = answer?.text ?? "";
    result.ariaLabel = call.name;
    result.hidden = resultLabel.hidden = !answer || answer.isMissing;
    node.classList.toggle("failed", answer?.hasFailed ?? false);
    say(state, stateText(answer, phase));
  }

  return { node, show };
}

/**
 * @param {Message | undefined} answer
 * @param {Phase} phase
 * @returns {Text}
 */
function stateText(answer, phase) {
  if (answer && !answer.isMissing) return answer.hasFailed ? { en: "failed", zh: "失败" } : { en: "done", zh: "完成" };
  return {
    running: { en: "calling…", zh: "调用中……" },
    waiting: { en: "waiting for your decision", zh: "等待你的决定" },
    over: { en: "stopped", zh: "已中止" },
  }[answer ? "over" : phase];
}
