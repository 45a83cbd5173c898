/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("./user-list.js").User} User
 */

/**
 * The collapsed form for a new user.
 *
 * @param {Page} page
 * @param {{onCreated: (user: User) => void}} listeners
 */
export function createForm({ element, say, field, request, Problem, problemNotice }, { onCreated }) {
  const email = field({
    id: "users-email",
    control: element("input", { type: "email", autocomplete: "off", required: true }),
    label: { en: "E-mail", zh: "电子邮箱" },
    check: ({ value, validity }) =>
      value.trim() === "" || validity.typeMismatch
        ? { en: "Please write an e-mail address.", zh: "请填写电子邮箱地址。" }
        : null,
  });
  const name = field({
    id: "users-name",
    control: element("input", { autocomplete: "off", required: true }),
    label: { en: "Name", zh: "姓名" },
    check: ({ value }) => wrongName(value),
  });
  const password = field({
    id: "users-password",
    control: element("input", { type: "password", autocomplete: "new-password", required: true }),
    label: { en: "Password", zh: "密码" },
    hint: { en: "8 to 200 characters.", zh: "8 到 200 个字符。" },
    check: ({ value }) => {
      if ([...value].length < 8) return { en: "The password is too short.", zh: "密码太短。" };
      return [...value].length > 200 ? { en: "The password is too long.", zh: "密码太长。" } : null;
    },
  });
  const fields = { email, name, password };

  const button = say(element("button", { type: "submit", className: "primary" }), { en: "Create", zh: "创建" });
  const status = element("p", { className: "hint", role: "status" });
  const trouble = element("div");
  const form = element(
    "form",
    { noValidate: true }, // the browser's messages are in the browser's language, not the page's
    element("div", { className: "columns" }, email.node, name.node, password.node),
    element("div", { className: "buttons" }, button, status),
    trouble,
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wrong = Object.values(fields).filter((field) => !field.validate());
    if (wrong.length === 0) create();
    else wrong[0].control.focus();
  });
  const summary = say(element("summary"), { en: "Create a user", zh: "创建用户" });
  const node = element("details", {}, summary, form);

  async function create() {
    if (button.disabled) return;
    button.disabled = true;
    trouble.replaceChildren();
    say(status, { en: "", zh: "" });
    try {
      const body = { email: email.control.value, name: name.control.value, password: password.control.value };
      const user = await (await request("users", { method: "POST", body })).json();
      form.reset();
      say(status, { en: `${user.name} was created.`, zh: `已创建 ${user.name}。` });
      email.control.focus();
      onCreated(user);
    } catch (error) {
      if (!showAtFields(error)) trouble.replaceChildren(problemNotice(error, create));
    } finally {
      button.disabled = false;
      if (document.activeElement === document.body) button.focus(); // it lost the focus when it was disabled
    }
  }

  /** @param {unknown} error */
  function showAtFields(error) {
    if (!(error instanceof Problem)) return false;
    if (error.status === 409) {
      email.show({ en: "There is a user with this e-mail already.", zh: "该电子邮箱已被使用。" });
      email.control.focus();
      return true;
    }
    const found = error.errors.map(({ loc, msg }) => {
      const field = fields[/** @type {keyof typeof fields} */ (loc[1])];
      field?.show({ en: `Not accepted: ${msg}`, zh: `未被接受：${msg}` });
      return field;
    });
    found.find(Boolean)?.control.focus();
    return found.length > 0 && found.every(Boolean);
  }

  return { node };
}

/** @param {string} value */
export function wrongName(value) {
  if (value.trim() === "") return { en: "Please write a name.", zh: "请填写姓名。" };
  return [...value].length > 100 ? { en: "At most 100 characters.", zh: "最多 100 个字符。" } : null;
}
