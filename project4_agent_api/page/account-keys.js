/** The user's API keys: a form for a new one, which is shown once, and the list with a button that deletes each. */

import { dateText } from "./run-texts.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 *
 * @typedef {object} ApiKey
 * @property {string} id
 * @property {string} name
 * @property {string} beginning
 * @property {string} created_at
 * @property {string | null} expires_at
 * @property {string | null} last_used_at
 */

export const title = { en: "API keys", zh: "API 密钥" };

/** @type {[string, import("../../shared/page/language.js").Text][]} Days until a key expires. */
const LIFETIMES = [
  ["30", { en: "in 30 days", zh: "30 天后" }],
  ["90", { en: "in 90 days", zh: "90 天后" }],
  ["365", { en: "in a year", zh: "一年后" }],
  ["", { en: "never", zh: "永不" }],
];

/**
 * @param {HTMLElement} root
 * @param {Page} page
 */
export function mount(root, { element, say, field, request, problemNotice }) {
  const about = say(element("p", { className: "hint" }), {
    en: "A program signs in with a key: as X-Api-Key, or as a bearer token. It can do everything you can, except change this account.",
    zh: "程序用密钥登录：放在 X-Api-Key 里，或作为 bearer token。除了修改账号，它能做你能做的一切。",
  });
  const name = field({
    id: "key-name",
    control: element("input", { autocomplete: "off", maxLength: 100, required: true }),
    label: { en: "Name of the key", zh: "密钥名称" },
    check: ({ value }) => (value.trim() ? null : { en: "Please enter a name.", zh: "请填写名称。" }),
  });
  const lifetime = element("select", { id: "key-lifetime" });
  lifetime.append(...LIFETIMES.map(([value, text]) => say(element("option", { value }), text)));
  const lifetimeLabel = say(element("label", { htmlFor: lifetime.id }), { en: "Expires", zh: "过期" });
  const submit = say(element("button", { type: "submit", className: "primary" }), { en: "Create a key", zh: "创建密钥" });
  const created = element("div", { role: "status" });
  const list = element("ul", { className: "keys" });
  const more = say(element("button", { type: "button", hidden: true }), { en: "More keys", zh: "更多" });
  const trouble = element("div");
  const form = element(
    "form",
    { noValidate: true, className: "account-form" },
    element("div", { className: "columns" }, name.node, element("div", { className: "field" }, lifetimeLabel, lifetime)),
    element("div", { className: "buttons" }, submit),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (name.validate()) create();
    else name.control.focus();
  });
  root.append(about, form, created, list, more, trouble);
  load();

  async function load(cursor = "") {
    trouble.replaceChildren();
    try {
      const query = new URLSearchParams({ limit: "50", ...(cursor ? { cursor } : {}) });
      /** @type {{items: ApiKey[], next_cursor: string | null}} */
      const { items, next_cursor } = await (await request(`auth/api-keys?${query}`)).json();
      if (!cursor) list.replaceChildren();
      list.append(...items.map(item));
      more.hidden = next_cursor === null;
      more.onclick = () => load(next_cursor ?? "");
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, () => load(cursor)));
    }
  }

  async function create() {
    if (submit.disabled) return;
    submit.disabled = true;
    trouble.replaceChildren();
    try {
      const days = Number(lifetime.value);
      const expires_at = days ? new Date(Date.now() + days * 86_400_000).toISOString() : null;
      const body = { name: name.control.value.trim(), expires_at };
      const { key, ...made } = await (await request("auth/api-keys", { method: "POST", body })).json();
      form.reset();
      list.prepend(item(made));
      created.replaceChildren(newKey(key));
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, create));
    } finally {
      submit.disabled = false;
    }
  }

  /** @param {string} key */
  function newKey(key) {
    const code = element("code", {}, key);
    const copy = say(element("button", { type: "button" }), { en: "Copy", zh: "复制" });
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(key);
        say(copy, { en: "Copied", zh: "已复制" });
      } catch {
        getSelection()?.selectAllChildren(code); // without HTTPS or the permission, the user copies it
      }
    });
    const once = say(element("p"), { en: "Copy it now: it is not shown again.", zh: "请立即复制：密钥只显示这一次。" });
    return element("div", { className: "new-key" }, once, code, copy);
  }

  /** @param {ApiKey} key */
  function item({ id, name, beginning, created_at, expires_at, last_used_at }) {
    const label = element("bdi", {}, name);
    const remove = say(element("button", { type: "button" }), { en: "Delete", zh: "删除" });
    remove.setAttribute("aria-describedby", (label.id = `key-${id}`));
    const title = element("p", {}, element("strong", {}, label), " ", element("code", {}, `${beginning}…`));
    const node = element("li", {}, title, facts(), remove);
    let isSure = false;
    remove.addEventListener("click", async () => {
      if (!isSure) {
        isSure = true;
        say(remove, { en: "Delete: programs with it are locked out", zh: "确认删除：使用它的程序将无法访问" });
        return;
      }
      remove.disabled = true;
      try {
        await request(`auth/api-keys/${id}`, { method: "DELETE" });
        node.remove();
        created.replaceChildren(); // it may show the deleted key
      } catch (error) {
        trouble.replaceChildren(problemNotice(error));
        remove.disabled = false;
      }
    });
    return node;

    function facts() {
      const never = { en: "never", zh: "从未" };
      const [made, used] = [dateText(created_at), last_used_at ? dateText(last_used_at) : never];
      const until = expires_at ? dateText(expires_at) : { en: "never", zh: "永不" };
      return say(element("p", { className: "hint" }), {
        en: `Created ${made.en} · last used ${used.en} · expires ${until.en}`,
        zh: `创建于 ${made.zh} · 最近使用 ${used.zh} · 过期 ${until.zh}`,
      });
    }
  }
}
