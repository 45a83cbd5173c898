import { ACCESS } from "./format.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 *
 * @typedef {object} Received An invitation to a collection of another user.
 * @property {string} id
 * @property {string} collection
 * @property {string} owner An e-mail address.
 * @property {"read" | "write"} access
 */

/**
 * The invitations to collections that the user received, to accept or refuse. Hidden if there are none.
 *
 * @param {Page} page
 * @param {{onDecided: () => Promise<void>, announce: (text: import("../../shared/page/language.js").Text) => void}} options
 */
export function receivedInvitations(page, { onDecided, announce }) {
  const { element, say, request, problemNotice } = page;
  const list = element("ul", { className: "shares", role: "list" });
  const trouble = element("div");
  const node = element("div", { className: "documents", hidden: true }, list, trouble);

  /** Load them. The documents can be used without them. */
  async function load() {
    try {
      /** @type {{items: Received[]}} */
      const { items } = await (await request("collection-invitations")).json();
      list.replaceChildren(...items.map(row));
      node.hidden = items.length === 0;
    } catch (error) {
      if (!(error instanceof page.Problem)) throw error;
    }
  }

  /** @param {Received} invitation */
  function row({ id, collection, owner, access }) {
    const may = ACCESS[access];
    const text = say(element("p", { className: "who" }), {
      en: `${owner} invites you to ${may.en} the documents in “${collection}”.`,
      zh: `${owner} 邀请你${may.zh}“${collection}”中的文档。`,
    });
    const accept = say(element("button", { type: "button" }), { en: "Accept", zh: "接受" });
    const refuse = say(element("button", { type: "button" }), { en: "Refuse", zh: "拒绝" });
    accept.addEventListener("click", () =>
      decide(`${id}/accept`, "POST", {
        en: `“${collection}” is among your collections now.`,
        zh: `“${collection}”已加入你的集合。`,
      }),
    );
    refuse.addEventListener("click", () =>
      decide(id, "DELETE", { en: "The invitation was refused.", zh: "已拒绝邀请。" }),
    );
    return element("li", {}, text, element("div", { className: "buttons" }, accept, refuse));
  }

  /**
   * @param {string} path
   * @param {string} method
   * @param {import("../../shared/page/language.js").Text} result
   */
  async function decide(path, method, result) {
    try {
      await request(`collection-invitations/${path}`, { method });
      trouble.replaceChildren();
      announce(result);
      await onDecided();
      await load();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, () => decide(path, method, result)));
    }
  }

  return { node, load };
}
