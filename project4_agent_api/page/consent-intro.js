/** The first panel of `/authorize`: why a user who is signed out is asked for a password. */

/** @typedef {import("../../shared/page/page.js").Page} Page */

export const title = { en: "A program asks for access", zh: "有程序请求授权" };

/**
 * @param {HTMLElement} root
 * @param {Page} page
 */
export function mount(root, { element, say }) {
  root.append(
    say(element("p"), {
      en: "A program wants to use your assistants or documents through MCP. Sign in here to see its name and what it asks for; the program does not see your password.",
      zh: "有程序希望通过 MCP 使用你的助手或文档。请在此登录，查看它的名称和所请求的权限；程序不会看到你的密码。",
    }),
  );
}
