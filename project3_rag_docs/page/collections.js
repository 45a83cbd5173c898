import { collectionShares } from "./collection-shares.js";
import { ACCESS } from "./format.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 *
 * @typedef {object} Collection
 * @property {string} id
 * @property {string} name
 * @property {"owner" | "read" | "write"} access `read` or `write` if another user shares it.
 */

/**
 * The collections of the user, and those that others share.
 *
 * @param {Page} page
 */
export function collectionStore({ request }) {
  /** @type {Collection[]} */
  let items = [];
  /** @type {(() => void)[]} */
  const listeners = [];

  async function load() {
    ({ items } = await (await request("collections")).json());
    for (const listener of listeners) listener();
  }

  return {
    load,
    all: () => items,
    named: (/** @type {string | null} */ id) => items.find((one) => one.id === id),
    onChange: (/** @type {() => void} */ listener) => void listeners.push(listener),
  };
}

/** @typedef {ReturnType<typeof collectionStore>} CollectionStore */

/**
 * A choice of a collection, or of none.
 *
 * @param {Pick<Page, "element" | "say">} page
 * @param {CollectionStore} store
 * @param {object} options
 * @param {string} options.id Of the control.
 * @param {Text} options.none What it means to choose none.
 * @param {boolean} [options.ownOnly] Whether to leave out those of other users.
 * @param {string | null} [options.value]
 */
export function collectionChoice({ element, say }, store, { id, none, ownOnly = false, value = null }) {
  const control = element("select", { id });
  show();
  control.value = value ?? "";

  function show() {
    const chosen = control.value;
    const offered = store.all().filter(({ access }) => !ownOnly || access === "owner");
    control.replaceChildren(say(element("option", { value: "" }), none));
    for (const { id: collection, name, access } of offered) {
      const option = element("option", { value: collection });
      const shared = { en: `${name} (shared with me)`, zh: `${name}（他人共享）` };
      control.append(access === "owner" ? Object.assign(option, { textContent: name }) : say(option, shared));
    }
    control.value = offered.some((one) => one.id === chosen) ? chosen : "";
  }

  return { control, show };
}

/**
 * The collections of the user, to create, rename, share and delete them, and those of others, to leave them.
 *
 * @param {Page} page
 * @param {CollectionStore} store
 * @param {{hasUsers: boolean}} options Whether there are other users to share with.
 */
export function collectionEditor(page, store, { hasUsers }) {
  const { element, say, field, request, problemNotice } = page;
  const list = element("ul", { className: "collections", role: "list" }); // Safari drops the role without markers
  const trouble = element("div");
  const name = field({
    id: "documents-new-collection",
    control: element("input", { maxLength: 100, required: true, autocomplete: "off" }),
    label: { en: "New collection", zh: "新建集合" },
    check: ({ value }) => (value.trim() ? null : { en: "Please write a name first.", zh: "请先写下名称。" }),
  });
  const create = say(element("button", { type: "submit" }), { en: "Create", zh: "创建" });
  const form = element("form", { noValidate: true }, name.node, create);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!name.validate()) return name.control.focus();
    change("collections", { method: "POST", body: { name: name.control.value.trim() } }, () => {
      name.control.value = "";
    });
  });
  const hint = say(element("p", { className: "hint" }), {
    en: "A document is in one collection at most. Deleting a collection keeps its documents.",
    zh: "一个文档最多属于一个集合。删除集合不会删除其中的文档。",
  });
  const summary = say(element("summary"), { en: "Manage collections", zh: "管理集合" });
  const node = element("details", {}, summary, hint, list, form, trouble);
  store.onChange(show);

  function show() {
    list.replaceChildren(...store.all().map((one) => (one.access === "owner" ? row(one) : sharedRow(one))));
  }

  /** @param {Collection} collection Of another user. */
  function sharedRow({ id, name: shared, access }) {
    const state = say(element("span", { className: "hint" }), {
      en: `shared with me to ${ACCESS[access].en}`,
      zh: `他人共享，可${ACCESS[access].zh}`,
    });
    const leave = say(element("button", { type: "button", onclick: leaveIt }), { en: "Leave", zh: "退出" });

    async function leaveIt() {
      try {
        const me = await (await request("auth/me")).json();
        await change(`collections/${id}/shares/${me.id}`, { method: "DELETE" }, () => name.control.focus());
      } catch (error) {
        trouble.replaceChildren(problemNotice(error, leaveIt));
      }
    }
    return element("li", {}, element("span", { className: "name" }, shared), state, leave);
  }

  /** @param {Collection} collection */
  function row({ id, name: current }) {
    const input = element("input", { value: current, maxLength: 100, ariaLabel: current });
    const rename = say(element("button", { type: "button", onclick: save }), { en: "Rename", zh: "重命名" });
    const remove = say(element("button", { type: "button", onclick: removeIt }), { en: "Delete", zh: "删除" });
    const share = say(element("button", { type: "button", hidden: !hasUsers, onclick: showShares }), {
      en: "Share",
      zh: "共享",
    });
    share.ariaExpanded = "false";
    const item = element("li", {}, input, element("div", { className: "buttons" }, rename, share, remove));
    let sure = false;

    function showShares() {
      const shown = item.querySelector(".sharing");
      if (shown) shown.remove();
      else item.append(collectionShares(page, { id, name: current }).node);
      share.ariaExpanded = String(!shown);
    }

    function save() {
      const wanted = input.value.trim();
      if (wanted && wanted !== current) change(`collections/${id}`, { method: "PATCH", body: { name: wanted } });
    }

    function removeIt() {
      if (sure) return change(`collections/${id}`, { method: "DELETE" }, () => name.control.focus());
      sure = true;
      say(remove, { en: `Delete “${current}”?`, zh: `确定删除“${current}”？` });
    }
    return item;
  }

  /**
   * @param {string} path
   * @param {{method: string, body?: object}} options
   * @param {() => void} [then]
   */
  async function change(path, options, then) {
    try {
      await request(path, options);
      await store.load();
      trouble.replaceChildren();
      then?.();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, () => change(path, options, then)));
    }
  }

  return { node };
}
