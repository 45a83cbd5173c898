/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 *
 * @typedef {object} User
 * @property {string} id
 * @property {string} email
 * @property {string} name
 * @property {number} version
 */

const TYPING_MILLISECONDS = 200;

/**
 * All users, or those with the entered prefix of e-mail or name.
 *
 * @param {Page} page
 * @param {{onChoose: (user: User) => void}} listeners
 */
export function userList({ element, say, field, request, problemNotice }, { onChoose }) {
  const search = field({
    id: "users-search",
    control: element("input", { type: "search", maxLength: 254, autocomplete: "off" }),
    label: { en: "Find a user", zh: "查找用户" },
    hint: { en: "Prefix of the e-mail or the name.", zh: "输入电子邮箱或姓名的开头。" },
    check: () => null,
  });
  const list = element("ol", { className: "users", role: "list" }); // Safari ignores the role of a list without markers
  const status = element("p", { className: "hint", role: "status" });
  const more = say(element("button", { type: "button", hidden: true, onclick: () => load(cursor) }), {
    en: "More users",
    zh: "更多用户",
  });
  const trouble = element("div");
  const node = element("div", { className: "everybody" }, search.node, status, list, more, trouble);

  /** @type {Map<string, User>} */
  const shown = new Map();
  /** @type {string | null} */
  let cursor = null;
  let loading = new AbortController();
  let typing = 0;
  search.control.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(load, TYPING_MILLISECONDS);
  });

  /** @param {string | null} [after] The cursor of the page to append; without it, the list is loaded again. */
  async function load(after = null) {
    loading.abort(); // its response is outdated
    loading = new AbortController();
    const { signal } = loading;
    const q = search.control.value.trim();
    const query = new URLSearchParams({ limit: "20", ...(q && { q }), ...(after && { cursor: after }) });
    try {
      const { items, next_cursor } = await (await request(`users?${query}`, { signal })).json();
      if (signal.aborted) return;
      if (!after) shown.clear();
      trouble.replaceChildren();
      for (const user of items) shown.set(user.id, user);
      cursor = next_cursor;
      more.hidden = cursor === null;
      show();
      if (after && items.length > 0) focus(items[0].id); // the button may have disappeared
    } catch (error) {
      if (!signal.aborted) trouble.replaceChildren(problemNotice(error, () => load(after)));
    }
  }

  function show() {
    // Ids increase with time, so a new user is last, even if pages in between are not loaded yet.
    const users = [...shown.values()].sort((one, other) => (one.id < other.id ? -1 : 1));
    list.replaceChildren(...users.map(row));
    const none = search.control.value.trim()
      ? { en: "No matching users.", zh: "没有匹配的用户。" }
      : { en: "There are no users yet.", zh: "还没有用户。" };
    say(status, users.length > 0 ? { en: "", zh: "" } : none);
  }

  /** @param {User} user */
  function row(user) {
    const email = element("span", { className: "hint" }, user.email);
    const button = element("button", { type: "button", onclick: () => onChoose(user) }, user.name, " ", email);
    button.dataset.id = user.id;
    return element("li", {}, button);
  }

  /** @param {User} user */
  async function add(user) {
    clearTimeout(typing);
    search.control.value = ""; // it might hide the new user
    await load();
    replace(user);
  }

  /** @param {User} user */
  function replace(user) {
    shown.set(user.id, user);
    show();
  }

  /** @param {string} id */
  function remove(id) {
    shown.delete(id);
    show();
  }

  /** @param {string} id Id of the user whose row gets the focus, if it exists. */
  function focus(id) {
    const buttons = [...list.querySelectorAll("button")];
    (buttons.find((button) => button.dataset.id === id) ?? search.control).focus();
  }

  return { node, load, add, replace, remove, focus };
}
