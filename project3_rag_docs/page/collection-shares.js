import { ACCESS } from "./format.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {{user_id: string, email: string | null, access: "read" | "write"}} Share
 * @typedef {{id: string, email: string, access: "read" | "write"}} Invitation
 */

/**
 * The users with whom a collection is shared, and the addresses that are invited. Only stage 4 has users with accounts.
 *
 * @param {Page} page
 * @param {{id: string, name: string}} collection
 */
export function collectionShares(page, { id, name }) {
  const { element, say, field, request, problemNotice } = page;
  const path = `collections/${id}`;
  const list = element("ul", { className: "shares", role: "list" });
  const trouble = element("div");
  const user = field({
    id: `documents-share-${id}`,
    control: element("input", { required: true, autocomplete: "off", spellcheck: false }),
    label: { en: "E-mail address or id of a user", zh: "用户的邮箱地址或编号" },
    hint: {
      en: "An address is invited, if it has an account already; you see when its user accepts. An id shares at once.",
      zh: "填写邮箱会向已有账号的用户发出邀请，对方接受后这里会显示。填写编号则立即共享。",
    },
    check: ({ value }) =>
      UUID.test(value.trim()) || value.includes("@")
        ? null
        : { en: "This is no e-mail address and no id of a user.", zh: "这既不是邮箱地址，也不是用户编号。" },
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
    const named = user.control.value.trim();
    const body = { access: access.value };
    if (UUID.test(named)) return change("PUT", `shares/${named}`, body);
    change("POST", "invitations", { ...body, email: named });
  });
  load();

  async function load() {
    try {
      const paths = [`${path}/shares`, `${path}/invitations`, "auth/me"];
      const [shares, invitations, me] = await Promise.all(paths.map((each) => request(each)));
      /** @type {Share[]} */
      const shared = (await shares.json()).items;
      /** @type {Invitation[]} */
      const invited = (await invitations.json()).items;
      list.replaceChildren(...shared.map(shareRow), ...invited.map(invitationRow));
      const { id: me_id } = await me.json();
      say(own, { en: `Your own id: ${me_id}`, zh: `你自己的编号：${me_id}` });
      trouble.replaceChildren();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, load));
    }
  }

  /** @param {Share} share */
  function shareRow({ user_id, email, access: may }) {
    const remove = say(element("button", { type: "button" }), { en: "Stop sharing", zh: "停止共享" });
    remove.addEventListener("click", () => change("DELETE", `shares/${user_id}`));
    return row(email ?? user_id, ACCESS[may], remove);
  }

  /** @param {Invitation} invitation */
  function invitationRow({ id: invitation, email, access: may }) {
    const remove = say(element("button", { type: "button" }), { en: "Withdraw", zh: "撤回" });
    remove.addEventListener("click", () => change("DELETE", `invitations/${invitation}`));
    return row(email, { en: `invited to ${ACCESS[may].en}`, zh: `已邀请${ACCESS[may].zh}` }, remove);
  }

  /**
   * @param {string} who
   * @param {import("../../shared/page/language.js").Text} state
   * @param {HTMLElement} button
   */
  function row(who, state, button) {
    return element("li", {}, element("span", { className: "who" }, who), " ", say(element("span"), state), " ", button);
  }

  /**
   * @param {string} method
   * @param {string} what Below the collection.
   * @param {object} [body]
   */
  async function change(method, what, body) {
    try {
      await request(`${path}/${what}`, { method, body });
      user.control.value = "";
      user.control.focus();
      await load();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, () => change(method, what, body)));
    }
  }

  return { node };
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
