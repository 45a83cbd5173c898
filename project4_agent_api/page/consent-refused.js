/** The panel of `/authorize` for a request without a registered program, so nobody can be told but the user. */

/** @typedef {import("../../shared/page/page.js").Page} Page */

export const title = { en: "This link does not work", zh: "此链接无效" };

/**
 * @param {HTMLElement} root
 * @param {Page} page
 */
export function mount(root, { element, say }) {
  root.append(
    say(element("p"), {
      en: "The program that sent you here is not registered, or asks for an answer at another address than it registered. Start the sign-in again from the program.",
      zh: "把你带到这里的程序没有注册，或者要求把结果发送到未注册的地址。请从该程序重新发起登录。",
    }),
  );
}
