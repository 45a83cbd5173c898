import { element } from "./dom.js";
import { say } from "./language.js";

/** @typedef {import("./language.js").Text} Text */

/**
 * A control of a form, with its label and a place for what is wrong with it.
 *
 * @template {HTMLTextAreaElement | HTMLInputElement} Control
 * @param {object} options
 * @param {string} options.id Its own on the whole page, so begin it with the panel's name.
 * @param {Control} options.control
 * @param {Text} options.label
 * @param {Text} [options.hint]
 * @param {(control: Control) => Text | null} options.check What is wrong, or null.
 * @returns {{node: HTMLElement, control: Control, validate: () => boolean, show: (wrong: Text | null) => void}}
 *   `validate` shows what is wrong, and from then on keeps up with what is typed; `show` is for what only the server
 *   can know.
 */
export function field({ id, control, label, hint, check }) {
  const error = element("p", { className: "error", id: `${id}-error`, hidden: true });
  const notes = hint ? [say(element("p", { className: "hint", id: `${id}-hint` }), hint), error] : [error];
  control.id = id;
  control.setAttribute("aria-describedby", notes.map((note) => note.id).join(" "));
  // Not on `blur` or `change`: the message would move the button away from under the click that took the focus.
  control.addEventListener("input", () => error.hidden || validate());

  function validate() {
    const wrong = check(control);
    show(wrong);
    return !wrong;
  }

  /** @param {Text | null} wrong */
  function show(wrong) {
    error.hidden = !wrong;
    if (wrong) say(error, wrong);
    control.ariaInvalid = String(Boolean(wrong));
  }

  const caption = say(element("label", { htmlFor: id }), label);
  return { control, validate, show, node: element("div", { className: "field" }, caption, control, ...notes) };
}
