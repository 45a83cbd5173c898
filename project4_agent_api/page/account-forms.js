/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 */

/**
 * The form for signing in, which can switch to registering.
 *
 * @param {Page} page
 * @param {{signIn: (email: string, password: string) => Promise<void>, onSignedIn: () => void}} listeners
 */
export function accountForms({ element, say, field, request, Problem, problemNotice }, { signIn, onSignedIn }) {
  let isNew = false;

  const email = field({
    id: "account-email",
    control: element("input", { type: "email", autocomplete: "username", required: true }),
    label: { en: "E-mail", zh: "电子邮箱" },
    check: ({ value, validity }) =>
      value.trim() === "" || validity.typeMismatch
        ? { en: "Please enter an e-mail address.", zh: "请填写电子邮箱地址。" }
        : null,
  });
  const name = field({
    id: "account-name",
    control: element("input", { autocomplete: "name", required: true }),
    label: { en: "Name", zh: "姓名" },
    check: ({ value }) => (isNew && value.trim() === "" ? { en: "Please enter a name.", zh: "请填写姓名。" } : null),
  });
  const password = field({
    id: "account-password",
    control: element("input", { type: "password", required: true }),
    label: { en: "Password", zh: "密码" },
    check: ({ value }) => wrongPassword(value, isNew),
  });
  const fields = { email, name, password };

  const submit = element("button", { type: "submit", className: "primary" });
  const other = element("button", { type: "button", onclick: () => choose(!isNew) });
  const status = element("p", { className: "hint", role: "status" });
  const trouble = element("div");
  const node = element(
    "form",
    { noValidate: true }, // the browser's messages use its own language instead of the page's
    status,
    element("div", { className: "columns" }, email.node, name.node, password.node),
    element("div", { className: "buttons" }, submit, other),
    trouble,
  );
  node.addEventListener("submit", (event) => {
    event.preventDefault();
    const wrong = Object.values(fields).filter((field) => !field.validate());
    if (wrong.length === 0) send();
    else wrong[0].control.focus();
  });
  choose(false);

  /** @param {boolean} register */
  function choose(register) {
    isNew = register;
    name.node.hidden = !isNew;
    password.control.autocomplete = isNew ? "new-password" : "current-password";
    say(submit, isNew ? { en: "Register", zh: "注册" } : { en: "Sign in", zh: "登录" });
    say(other, isNew ? { en: "I have an account", zh: "已有账号" } : { en: "Create an account", zh: "注册新账号" });
    for (const { show } of Object.values(fields)) show(null);
    trouble.replaceChildren();
  }

  async function send() {
    if (submit.disabled) return;
    submit.disabled = true;
    trouble.replaceChildren();
    try {
      const given = { email: email.control.value.trim(), name: name.control.value, password: password.control.value };
      if (isNew) await request("auth/register", { method: "POST", body: given, anonymous: true });
      choose(false); // once registered, only a failed sign-in has to be retried
      await signIn(given.email, given.password);
      node.reset();
      onSignedIn();
    } catch (error) {
      if (!showAtFields(error)) trouble.replaceChildren(problemNotice(error, send));
    } finally {
      submit.disabled = false;
    }
  }

  /** @param {unknown} error */
  function showAtFields(error) {
    if (!(error instanceof Problem)) return false;
    if (error.status === 401) password.show({ en: "Wrong e-mail or password.", zh: "邮箱或密码不正确。" });
    if (error.status === 409) email.show({ en: "An account with this e-mail already exists.", zh: "该邮箱已注册。" });
    const found = error.errors.map(({ loc, msg }) => {
      const field = fields[/** @type {keyof typeof fields} */ (loc[1] === "username" ? "email" : loc[1])];
      field?.show({ en: `Not accepted: ${msg}`, zh: `未被接受：${msg}` });
      return field;
    });
    const first = { 401: password, 409: email }[error.status] ?? found.find(Boolean);
    first?.control.focus();
    return found.every(Boolean) && first !== undefined;
  }

  function sayEnded() {
    say(status, { en: "Your session has ended. Please sign in again.", zh: "登录已失效，请重新登录。" });
  }

  return { node, sayEnded };
}

/**
 * @param {string} value
 * @param {boolean} isNew An existing password is only compared, so its length does not matter.
 * @returns {Text | null}
 */
export function wrongPassword(value, isNew) {
  if (value === "") return { en: "Please enter a password.", zh: "请填写密码。" };
  if (isNew && [...value].length < 8) return { en: "At least 8 characters, please.", zh: "密码至少需要 8 个字符。" };
  return [...value].length > 200 ? { en: "At most 200 characters, please.", zh: "密码最多 200 个字符。" } : null;
}
