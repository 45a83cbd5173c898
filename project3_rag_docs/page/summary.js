/** @typedef {import("../../shared/page/page.js").Page} Page */

/**
 * The summary of a document, which the model writes when it is asked for.
 *
 * @param {Page} page
 * @param {string} id Of the document.
 */
export function summaryView({ element, say, streamEvents, Problem, problemNotice }, id) {
  const button = say(element("button", { type: "button", onclick: start }), { en: "Summarize", zh: "生成摘要" });
  const stopButton = say(element("button", { type: "button", hidden: true, onclick: stop }), { en: "Stop", zh: "停止" });
  const status = element("p", { className: "hint", role: "status" });
  const body = element("div", { className: "answer", hidden: true });
  const trouble = element("div");
  const node = element("div", { className: "summary", hidden: true }, status, body, trouble, stopButton);
  /** @type {AbortController | null} */
  let reading = null;

  async function start() {
    if (reading) return;
    reading = new AbortController();
    const { signal } = reading;
    node.hidden = stopButton.hidden = false;
    body.hidden = true;
    body.replaceChildren();
    trouble.replaceChildren();
    say(status, { en: "Reading the document…", zh: "正在通读文档……" });
    try {
      const { model } = await read(signal);
      say(status, { en: `Summary by ${model}`, zh: `摘要由 ${model} 生成` });
    } catch (error) {
      say(status, signal.aborted ? { en: "Stopped.", zh: "已停止。" } : { en: "", zh: "" });
      if (!signal.aborted) trouble.replaceChildren(problemNotice(error, start));
    } finally {
      const hadFocus = document.activeElement === stopButton;
      reading = null;
      body.ariaBusy = "false";
      stopButton.hidden = true;
      if (hadFocus) button.focus();
    }
  }

  /** @param {AbortSignal} signal */
  async function read(signal) {
    for await (const { event, data } of streamEvents(`documents/${id}/summary/stream`, { body: {}, signal })) {
      if (event === "progress") {
        const { done, total } = data;
        say(status, { en: `Read ${done} of ${total} parts…`, zh: `已读完 ${total} 个部分中的 ${done} 个……` });
      }
      if (event === "token") {
        body.hidden = false;
        body.ariaBusy = "true";
        body.append(data.text);
      }
      if (event === "error") throw new Problem(data);
      if (event === "done") return data;
    }
    throw Problem.cut();
  }

  function stop() {
    reading?.abort();
  }

  return { button, node, stop };
}
