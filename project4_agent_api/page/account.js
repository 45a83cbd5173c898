/** The first panel of stage 4: register, sign in, sign out. Signing in unlocks the other panels. */

import { accountForms } from "./account-forms.js";
import { hasJustEnded, openSession } from "./session.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 *
 * @typedef {object} Account
 * @property {string} email
 * @property {string} name
 * @property {"user" | "admin"} role
 */

export const title = { en: "Account", zh: "账号" };

/**
 * @param {HTMLElement} root
 * @param {Page} page
 */
export function mount(root, page) {
  const { element, say, request, admit, problemNotice } = page;
  const style = new URL("account.css", import.meta.url).href; // the Content-Security-Policy forbids inline styles
  document.head.append(element("link", { rel: "stylesheet", href: style }));

  const session = openSession(page);
  const forms = accountForms(page, { signIn: session.signIn, onSignedIn: enter });
  const name = element("strong");
  const email = element("span", { className: "hint" });
  const signOutButton = say(element("button", { type: "button", onclick: signOut }), { en: "Sign out", zh: "退出登录" });
  const who = element("div", { className: "who", hidden: true }, element("p", {}, name, " ", email), signOutButton);
  const trouble = element("div");
  root.append(forms.node, who, trouble);
  if (session.isOpen()) enter();
  else if (hasJustEnded()) forms.sayEnded();

  async function enter() {
    forms.node.hidden = true;
    trouble.replaceChildren();
    root.ariaBusy = "true"; // after a reload, another view is shown next
    try {
      show(await (await request("auth/me")).json());
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, enter));
    } finally {
      root.ariaBusy = "false";
    }
  }

  /** @param {Account} account */
  function show(account) {
    name.textContent = account.name;
    email.textContent = account.email;
    who.hidden = false;
    admit("users");
    if (account.role === "admin") admit("administrators");
  }

  async function signOut() {
    signOutButton.disabled = true;
    try {
      await session.signOut();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, signOut));
      signOutButton.disabled = false;
    }
  }
}
