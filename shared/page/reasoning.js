import { element } from "./dom.js";
import { say } from "./language.js";

/** The model's reasoning, folded, above its answer. Hidden as long as there is none. */
export function reasoningView() {
  const text = document.createTextNode("");
  const summary = say(element("summary"), { en: "Reasoning", zh: "思考过程" });
  const node = element("details", { className: "reasoning", hidden: true }, summary, element("div", {}, text));

  /** @param {string} reasoning All of it so far. */
  function show(reasoning) {
    if (text.data !== reasoning) text.data = reasoning;
    node.hidden = reasoning === "";
  }

  /** @param {string} piece */
  function append(piece) {
    text.appendData(piece);
    node.hidden = false;
  }

  return { node, show, append };
}
