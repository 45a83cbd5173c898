import { SILENCE } from "./format.js";
import { passageView } from "./passage.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 */

/**
 * The passages that a search found, best first, without an answer of the model.
 *
 * @param {Page} page
 */
export function searchResults(page) {
  const { element, say, problemNotice } = page;
  const heading = say(element("h3"), { en: "Passages found", zh: "找到的段落" });
  const status = element("p", { className: "hint", role: "status" });
  const list = element("ol", { className: "passages", role: "list" }); // Safari drops the role without markers
  const after = element("div", { className: "after" });
  const node = element("div", { className: "turn" }, heading, status, list, after);

  function start() {
    list.replaceChildren();
    after.replaceChildren();
    say(status, { en: "Searching the documents…", zh: "正在检索文档……" });
  }

  /**
   * @param {import("./passage.js").Source[]} hits
   * @param {Text} searched What was searched.
   */
  function finish(hits, searched) {
    const several = hits.length === 0 ? NONE : { en: `${hits.length} passages`, zh: `${hits.length} 个段落` };
    const number = hits.length === 1 ? { en: "1 passage", zh: "1 个段落" } : several;
    say(status, { en: `${number.en}. ${searched.en}`, zh: `${number.zh}。${searched.zh}` });
    list.replaceChildren(...hits.map((hit) => passageView(page, hit).node));
  }

  /**
   * @param {unknown} error
   * @param {() => void} retry
   */
  function fail(error, retry) {
    say(status, SILENCE); // the notice is announced instead
    after.replaceChildren(problemNotice(error, retry));
  }

  return { node, start, finish, fail, text: () => "" };
}

/** @type {Text} */
const NONE = { en: "No passage matches", zh: "没有相关段落" };
