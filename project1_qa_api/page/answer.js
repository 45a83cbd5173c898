/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 *
 * @typedef {object} Done The last event of `POST ask/stream`.
 * @property {string} id
 * @property {string} model
 * @property {{input_tokens: number, output_tokens: number} | null} usage
 * @property {string} finish_reason
 * @property {number} latency_ms
 */

/**
 * The streamed answer, followed by its metadata.
 *
 * @param {Page} page
 */
export function answerView({ element, say, problemNotice, reasoningView }) {
  const text = document.createTextNode("");
  const body = element("div", { className: "answer" }, text);
  // Announcing every token would overwhelm screen reader users, so only the status is announced.
  const status = element("p", { className: "hint", role: "status" });
  const after = element("div", { className: "after" });
  const heading = say(element("h3"), { en: "Answer", zh: "回答" });
  const reasoning = reasoningView();
  const node = element("section", { hidden: true }, heading, reasoning.node, body, status, after);

  function start() {
    node.hidden = false;
    text.data = "";
    reasoning.show("");
    reasoning.node.open = false;
    body.hidden = true;
    body.ariaBusy = "true";
    after.replaceChildren();
    say(status, { en: "Waiting for the model…", zh: "正在等待模型……" });
  }

  /** @param {{text: string, replaces_tokens?: boolean}} piece Part of it may have arrived as the answer. */
  function appendReasoning(piece) {
    if (piece.replaces_tokens) text.data = "";
    reasoning.append(piece.text);
    say(status, { en: "Thinking…", zh: "正在思考……" });
  }

  /** @param {string} piece */
  function append(piece) {
    if (text.data === "") {
      body.hidden = false;
      say(status, { en: "Writing…", zh: "正在生成……" });
    }
    text.appendData(piece);
  }

  /** @param {Done} done */
  function finish(done) {
    const empty = text.data === "";
    end(empty ? { en: "The model returned an empty answer.", zh: "模型没有给出任何文字。" } : { en: "Done.", zh: "回答完毕。" });
    after.append(facts(done));
  }

  function stop() {
    end({ en: "Stopped. The answer is not complete.", zh: "已停止，回答不完整。" });
  }

  /**
   * @param {unknown} error
   * @param {() => void} retry
   */
  function fail(error, retry) {
    end({ en: "", zh: "" }); // the notice explains it
    after.append(problemNotice(error, retry));
  }

  /** @param {Text} message */
  function end(message) {
    body.ariaBusy = "false";
    say(status, message);
  }

  /** @param {Done} done */
  function facts({ model, usage, latency_ms, finish_reason }) {
    const list = element("dl", { className: "facts" });
    /** @type {(term: Text, value: Text) => void} */
    const add = (term, value) => list.append(element("div", {}, say(element("dt"), term), say(element("dd"), value)));
    add({ en: "Model", zh: "模型" }, same(model));
    if (usage) {
      add({ en: "Tokens in", zh: "输入 token" }, same(usage.input_tokens.toLocaleString("en")));
      add({ en: "Tokens out", zh: "输出 token" }, same(usage.output_tokens.toLocaleString("en")));
    }
    const milliseconds = Math.round(latency_ms).toLocaleString("en");
    add({ en: "Time", zh: "用时" }, { en: `${milliseconds} ms`, zh: `${milliseconds} 毫秒` });
    if (finish_reason !== "stop") add({ en: "Finish reason", zh: "结束原因" }, ending(finish_reason));
    return list;
  }

  return { node, start, appendReasoning, append, finish, stop, fail };
}

/** @param {string} finishReason */
function ending(finishReason) {
  return finishReason === "length" ? { en: "length limit (length)", zh: "达到长度上限（length）" } : same(finishReason);
}

/** @param {string} text */
function same(text) {
  return { en: text, zh: text };
}
