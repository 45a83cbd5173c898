/** Change the password, sign out everywhere, and delete the account. */

import { wrongPassword } from "./account-forms.js";
import { endSession } from "./session.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 */

export const title = { en: "Password and sign-ins", zh: "密码与登录" };

/**
 * @param {HTMLElement} root
 * @param {Page} page
 */
export function mount(root, page) {
  root.append(passwordForm(page), everywhere(page), deletion(page));
}

/** @param {Page} page */
function passwordForm({ element, say, field, request, Problem, problemNotice }) {
  const old = field({
    id: "password-old",
    control: element("input", { type: "password", autocomplete: "current-password", required: true }),
    label: { en: "Current password", zh: "当前密码" },
    check: ({ value }) => wrongPassword(value, false),
  });
  const fresh = field({
    id: "password-new",
    control: element("input", { type: "password", autocomplete: "new-password", required: true }),
    label: { en: "New password", zh: "新密码" },
    check: ({ value }) => wrongPassword(value, true),
  });
  const submit = say(element("button", { type: "submit" }), { en: "Change the password", zh: "修改密码" });
  const status = element("p", { className: "hint", role: "status" });
  const trouble = element("div");
  const form = element(
    "form",
    { noValidate: true, className: "account-form" },
    element("div", { className: "columns" }, old.node, fresh.node),
    element("div", { className: "buttons" }, submit),
    status,
    trouble,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wrong = [old, fresh].filter((one) => !one.validate());
    if (wrong.length === 0) send();
    else wrong[0].control.focus();
  });

  async function send() {
    if (submit.disabled) return;
    submit.disabled = true;
    status.textContent = "";
    trouble.replaceChildren();
    try {
      const body = { old_password: old.control.value, password: fresh.control.value };
      await request("auth/me", { method: "PATCH", body });
      form.reset();
      say(status, { en: "Changed. Your other sign-ins have ended.", zh: "已修改。其他设备上的登录已经结束。" });
    } catch (error) {
      if (error instanceof Problem && error.status === 403) {
        old.show({ en: "This is not your current password.", zh: "当前密码不正确。" });
        old.control.focus();
      } else trouble.replaceChildren(problemNotice(error, send));
    } finally {
      submit.disabled = false;
    }
  }

  return form;
}

/** @param {Page} page */
function everywhere({ element, say, request, problemNotice }) {
  const about = say(element("p", { className: "hint" }), {
    en: "Ends your sign-ins on all devices, this one too, and those of programs. API keys stay valid.",
    zh: "结束所有设备上的登录（包括这里）以及程序的登录。API 密钥仍然有效。",
  });
  const button = say(element("button", { type: "button", onclick: send }), { en: "Sign out everywhere", zh: "全部退出登录" });
  const trouble = element("div");

  async function send() {
    button.disabled = true;
    try {
      await request("auth/logout-all", { method: "POST" });
      endSession();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, send));
      button.disabled = false;
    }
  }

  return element("div", { className: "account-form" }, about, element("div", { className: "buttons" }, button), trouble);
}

/** @param {Page} page */
function deletion({ element, say, field, request, problemNotice }) {
  let email = "";
  const about = say(element("p"), {
    en: "This deletes your documents, conversations, memories, assistants, schedules and API keys. It cannot be undone.",
    zh: "这会删除你的文档、对话、记忆、助手、定时任务和 API 密钥，无法撤销。",
  });
  const typed = field({
    id: "delete-email",
    control: element("input", { type: "email", autocomplete: "off", required: true }),
    label: { en: "Type your e-mail to confirm", zh: "输入你的邮箱以确认" },
    check: ({ value }) =>
      value.trim().toLowerCase() === email.toLowerCase()
        ? null
        : { en: "This is not the e-mail of this account.", zh: "这不是当前账号的邮箱。" },
  });
  const submit = say(element("button", { type: "submit", className: "primary" }), {
    en: "Delete the account permanently",
    zh: "永久删除账号",
  });
  const trouble = element("div");
  const form = element(
    "form",
    { noValidate: true, className: "account-form" },
    about,
    typed.node,
    element("div", { className: "buttons" }, submit),
    trouble,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });
  const summary = say(element("summary"), { en: "Delete the account", zh: "删除账号" });

  async function send() {
    if (submit.disabled) return;
    submit.disabled = true;
    trouble.replaceChildren();
    try {
      ({ email } = await (await request("auth/me")).json());
      if (!typed.validate()) return typed.control.focus();
      await request("auth/me", { method: "DELETE" });
      endSession();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, send));
    } finally {
      submit.disabled = false;
    }
  }

  return element("details", { className: "danger" }, summary, form);
}
