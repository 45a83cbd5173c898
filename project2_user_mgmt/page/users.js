/** Stage 2's panel: create and find users, and talk to the model as a user. */

import { conversationView } from "./conversation.js";
import { profileView } from "./profile.js";
import { createForm } from "./user-form.js";
import { userList } from "./user-list.js";

/** @typedef {import("../../shared/page/page.js").Page} Page */

export const title = { en: "Users and their conversations", zh: "用户与对话" };

/**
 * @param {HTMLElement} root
 * @param {Page} page
 */
export function mount(root, page) {
  const { element } = page;
  const style = new URL("users.css", import.meta.url).href; // the content security policy allows style files only
  document.head.append(element("link", { rel: "stylesheet", href: style }));

  const list = userList(page, { onChoose: open });
  const form = createForm(page, { onCreated: list.add });
  const everybody = element("div", { className: "everybody" }, form.node, list.node);
  const one = element("section", { hidden: true });
  root.append(everybody, one);
  list.load();

  /** @param {import("./user-list.js").User} user */
  function open(user) {
    // Both are created for each user, so a late response changes nothing that is still shown.
    const profile = profileView(page, user, {
      onBack: () => close(user.id),
      onChanged: list.replace,
      onDeleted: () => {
        list.remove(user.id);
        if (profile.node.isConnected) close(user.id); // unless another user was opened in the meantime
      },
    });
    const conversation = conversationView(page, user.id);
    one.replaceChildren(profile.node, conversation.node);
    everybody.hidden = true;
    one.hidden = false;
    profile.focus();
    conversation.load();
  }

  /** @param {string} id */
  function close(id) {
    one.hidden = true;
    one.replaceChildren();
    everybody.hidden = false;
    list.focus(id);
  }
}
