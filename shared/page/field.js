import { element } from "./dom.js";
import { say } from "./language.js";

/**
 * A control of a form, with its label and a place for what is wrong with it.
 *
 * @template {HTMLTextAreaElement | HTMLInputElement} Control
 * @param {object} options
 * @param {string} options.id Its own on the whole page, so begin it with the panel's name.
 * @param {Control} options.control
 * @param {import("./language.js").Text} options.label
 * @param {import("./language.js").Text} [options.hint]
 * @param {(control: Control) => import("./language.js").Text | null} options.check What is wrong, or null.
 * @returns {{node: HTMLElement, control: Control, validate: () => boolean}} `validate` shows what is wrong,
 *   and from then on keeps up with what is typed.
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
    error.hidden = !wrong;
    if (wrong) say(error, wrong);
    control.ariaInvalid = String(Boolean(wrong));
    return !wrong;
  }

  const caption = say(element("label", { htmlFor: id }), label);
  return { control, validate, node: element("div", { className: "field" }, caption, control, ...notes) };
}
