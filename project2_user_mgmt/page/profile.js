import { wrongName } from "./user-form.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("./user-list.js").User} User
 */

/**
 * A user, with buttons to rename and delete.
 *
 * @param {Page} page
 * @param {User} user
 * @param {{onBack: () => void, onChanged: (user: User) => void, onDeleted: () => void}} listeners
 */
export function profileView(page, user, { onBack, onChanged, onDeleted }) {
  const { element, say, field, request, Problem, problemNotice } = page;
  const path = `users/${user.id}`;
  let saving = false;

  const heading = element("h3", { tabIndex: -1 }, user.name);
  const back = say(element("button", { type: "button", onclick: onBack }), { en: "All users", zh: "所有用户" });
  const renameButton = say(element("button", { type: "button", onclick: startRename }), { en: "Rename", zh: "改名" });
  const deleteButton = say(element("button", { type: "button", onclick: askFirst }), { en: "Delete", zh: "删除" });
  const actions = element("div", { className: "buttons" }, back, renameButton, deleteButton);

  const name = field({
    id: "users-new-name",
    control: element("input", { autocomplete: "off", required: true }),
    label: { en: "New name", zh: "新姓名" },
    check: ({ value }) => wrongName(value),
  });
  const renameForm = element(
    "form",
    { noValidate: true, hidden: true },
    name.node,
    element(
      "div",
      { className: "buttons" },
      say(element("button", { type: "submit", className: "primary" }), { en: "Save", zh: "保存" }),
      cancelButton(() => fold(renameButton)),
    ),
  );
  renameForm.addEventListener("submit", (event) => {
    event.preventDefault();
    if (name.validate()) rename();
    else name.control.focus();
  });

  const question = element("p", { id: "users-delete-question" });
  const keepButton = cancelButton(() => fold(deleteButton));
  const sureButton = say(element("button", { type: "button", className: "primary", onclick: remove }), {
    en: "Delete permanently",
    zh: "确认删除",
  });
  const confirmation = element("div", { className: "problem", role: "group", hidden: true }, question);
  confirmation.setAttribute("aria-labelledby", question.id);
  confirmation.append(element("div", { className: "buttons" }, sureButton, keepButton));

  const trouble = element("div");
  const email = element("p", { className: "hint" }, user.email);
  const node = element("div", { className: "profile" }, heading, email, actions, renameForm, confirmation, trouble);

  function startRename() {
    fold();
    name.control.value = user.name;
    renameForm.hidden = false;
    name.control.select();
  }

  async function rename() {
    if (saving) return; // the second click of a double click would conflict with the first
    saving = true;
    trouble.replaceChildren();
    try {
      const headers = { "If-Match": `"${user.version}"` };
      const response = await request(path, { method: "PATCH", headers, body: { name: name.control.value } });
      show(await response.json());
      fold(renameButton);
    } catch (error) {
      if (error instanceof Problem && error.status === 412) await showPresent();
      else trouble.replaceChildren(problemNotice(error, rename));
    } finally {
      saving = false;
    }
  }

  /** Keep the form open with the new name, which can be saved again. */
  async function showPresent() {
    try {
      show(await (await request(path)).json());
      const alert = say(element("p", { role: "alert" }), {
        en: "Another person has changed this user in the meantime, so nothing was saved. The current data are shown above.",
        zh: "其他人刚刚修改了该用户，你的修改没有保存。上方是最新内容。",
      });
      trouble.replaceChildren(element("div", { className: "problem" }, alert));
      name.control.focus();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, showPresent));
    }
  }

  function askFirst() {
    fold();
    say(question, {
      en: `Delete ${user.name} and the whole conversation? This cannot be undone.`,
      zh: `确定删除 ${user.name} 及其全部对话吗？此操作无法撤销。`,
    });
    confirmation.hidden = false;
    keepButton.focus();
  }

  async function remove() {
    try {
      await request(path, { method: "DELETE" });
      onDeleted();
    } catch (error) {
      // Another person has deleted the user already.
      if (error instanceof Problem && error.status === 404) onDeleted();
      else trouble.replaceChildren(problemNotice(error, remove));
    }
  }

  /** @param {User} changed */
  function show(changed) {
    user = changed;
    heading.textContent = user.name;
    email.textContent = user.email;
    onChanged(user);
  }

  /** @param {HTMLElement} [next] Gets the focus, which the hidden elements may have had. */
  function fold(next) {
    renameForm.hidden = confirmation.hidden = true;
    trouble.replaceChildren();
    next?.focus();
  }

  /** @param {() => void} onclick */
  function cancelButton(onclick) {
    return say(element("button", { type: "button", onclick }), { en: "Cancel", zh: "取消" });
  }

  return { node, focus: () => heading.focus() };
}
