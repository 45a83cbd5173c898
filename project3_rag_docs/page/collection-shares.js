/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {{user_id: string, access: "read" | "write"}} Share
 */

/**
 * The users with whom a collection is shared. Only stage 4 has users with accounts.
 *
 * @param {Page} page
 * @param {{id: string, name: string}} collection
 */
export function collectionShares(page, { id, name }) {
  const { element, say, field, request, problemNotice } = page;
  const path = `collections/${id}/shares`;
  const list = element("ul", { className: "shares", role: "list" });
  const trouble = element("div");
  const user = field({
    id: `documents-share-${id}`,
    control: element("input", { required: true, autocomplete: "off", spellcheck: false }),
    label: { en: "Id of a user", zh: "用户编号" },
    hint: { en: "Users find their own id in this place.", zh: "用户可以在此处找到自己的编号。" },
    check: ({ value }) => (UUID.test(value.trim()) ? null : { en: "This is no id of a user.", zh: "这不是用户编号。" }),
  });
  const access = element("select", { id: `documents-access-${id}` });
  for (const value of /** @type {const} */ (["read", "write"])) {
    access.append(say(element("option", { value }), ACCESS[value]));
  }
  const label = say(element("label", { htmlFor: access.id }), { en: "The user may", zh: "该用户可以" });
  const give = say(element("button", { type: "submit" }), { en: "Share", zh: "共享" });
  const own = element("p", { className: "hint" });
  const fields = element("div", { className: "columns" }, user.node, element("div", { className: "field" }, label, access));
  const form = element("form", { noValidate: true }, fields, give);
  const node = element("div", { className: "sharing", role: "group", ariaLabel: name }, list, form, own, trouble);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!user.validate()) return user.control.focus();
    change("PUT", user.control.value.trim(), { access: access.value });
  });
  load();

  async function load() {
    try {
      const [shares, me] = await Promise.all([request(path), request("auth/me")]);
      /** @type {{items: Share[]}} */
      const { items } = await shares.json();
      list.replaceChildren(...items.map(row));
      const { id: me_id } = await me.json();
      say(own, { en: `Your own id: ${me_id}`, zh: `你自己的编号：${me_id}` });
      trouble.replaceChildren();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, load));
    }
  }

  /** @param {Share} share */
  function row({ user_id, access: may }) {
    const remove = say(element("button", { type: "button" }), { en: "Stop sharing", zh: "停止共享" });
    remove.addEventListener("click", () => change("DELETE", user_id));
    return element("li", {}, element("code", {}, user_id), " ", say(element("span"), ACCESS[may]), " ", remove);
  }

  /**
   * @param {string} method
   * @param {string} userId
   * @param {object} [body]
   */
  async function change(method, userId, body) {
    try {
      await request(`${path}/${userId}`, { method, body });
      user.control.value = "";
      user.control.focus();
      await load();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, () => change(method, userId, body)));
    }
  }

  return { node };
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const ACCESS = {
  read: { en: "read", zh: "查看" },
  write: { en: "read and change", zh: "查看和修改" },
};
