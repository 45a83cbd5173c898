import { element } from "./dom.js";
import { say } from "./language.js";

/** @typedef {import("./language.js").Text} Text */

/**
 * A form control with its label and its error message.
 *
 * @template {HTMLTextAreaElement | HTMLInputElement} Control
 * @param {object} options
 * @param {string} options.id Unique on the whole page, so prefix it with the panel's name.
 * @param {Control} options.control
 * @param {Text} options.label
 * @param {Text} [options.hint]
 * @param {(control: Control) => Text | null} options.check Returns the error, or null.
 * @returns {{node: HTMLElement, control: Control, validate: () => boolean, show: (message: Text | null) => void}}
 *   `validate` shows the error, and then updates it while the user types; `show` is for errors from the server.
 */
export function field({ id, control, label, hint, check }) {
  const error = element("p", { className: "error", id: `${id}-error`, hidden: true });
  const notes = hint ? [say(element("p", { className: "hint", id: `${id}-hint` }), hint), error] : [error];
  control.id = id;
  control.setAttribute("aria-describedby", notes.map((note) => note.id).join(" "));
  // Not on `blur` or `change`: the message would move the button while it is being clicked.
  control.addEventListener("input", () => error.hidden || validate());

  function validate() {
    const message = check(control);
    show(message);
    return !message;
  }

  /** @param {Text | null} message */
  function show(message) {
    error.hidden = !message;
    if (message) say(error, message);
    control.ariaInvalid = String(Boolean(message));
  }

  const caption = say(element("label", { htmlFor: id }), label);
  return { control, validate, show, node: element("div", { className: "field" }, caption, control, ...notes) };
}
