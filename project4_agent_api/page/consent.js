/** The panel of `/authorize`: a program asks to act for the user, who allows or denies it. */

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 *
 * @typedef {object} Asked
 * @property {string} client_name
 * @property {string | null} client_host The site that publishes what the program says of itself.
 * @property {string} redirect_host
 * @property {string[]} scopes
 * @property {string} [redirect_to] Where the program learns that its request is wrong.
 */

export const title = { en: "Allow access?", zh: "是否授权？" };

/** @type {Record<string, Text>} */
export const SCOPES = {
  assistants: {
    en: "Run your assistants, which can use everything that is yours here",
    zh: "运行你的助手；助手可以使用你在此处的全部数据",
  },
  documents: { en: "Search and read your documents", zh: "搜索并阅读你的文档" },
};
const LOOPBACK = ["127.0.0.1", "::1", "localhost"];

/**
 * @param {HTMLElement} root
 * @param {Page} page
 */
export function mount(root, { element, say, request, problemNotice }) {
  const query = location.search.slice(1);
  const content = element("div", { className: "consent" });
  root.append(content);
  ask();

  async function ask() {
    try {
      /** @type {Asked} */
      const asked = await (await request("auth/consent/preview", { method: "POST", body: { query } })).json();
      if (asked.redirect_to) refuse(asked.redirect_host, asked.redirect_to);
      else show(asked);
    } catch (error) {
      content.replaceChildren(problemNotice(error, ask));
    }
  }

  /**
   * @param {string} host
   * @param {string} address
   */
  function refuse(host, address) {
    if (LOOPBACK.includes(host)) return location.replace(address);
    content.replaceChildren(
      say(element("p"), {
        en: "The request of the program is wrong, so it gets no access.",
        zh: "该程序的请求有误，未获授权。",
      }),
      element(
        "p",
        {},
        element("a", { href: address }, say(element("span"), { en: "Tell the program, at", zh: "告知该程序：" }), ` ${host}`),
      ),
    );
  }

  /** @param {Asked} asked */
  function show({ client_name, client_host, redirect_host, scopes }) {
    const name = element("strong", {}, element("bdi", {}, client_name), client_host ? ` (${client_host})` : "");
    const goal = LOOPBACK.includes(redirect_host)
      ? say(element("span"), { en: "a program on this computer", zh: "本机上的程序" })
      : element("strong", {}, redirect_host);
    const allow = element("button", { type: "button", className: "primary", onclick: () => decide(true) });
    const deny = element("button", { type: "button", onclick: () => decide(false) });
    const trouble = element("div");
    content.replaceChildren(
      element("p", {}, name, " ", say(element("span"), { en: "asks to:", zh: "请求以下权限：" })),
      element("ul", {}, ...scopes.map((scope) => say(element("li"), SCOPES[scope] ?? { en: scope, zh: scope }))),
      element("p", {}, say(element("span"), { en: "The answer goes to:", zh: "授权结果将发送至：" }), " ", goal),
      say(element("p", { className: "hint" }), {
        en: "The program chose its name itself. Allow it only if you have just started to sign in from it. You can take this back under Account.",
        zh: "名称由程序自行填写，未经核实。仅当你刚刚从该程序发起登录时才应允许。之后可以在“账号”中撤销。",
      }),
      element(
        "div",
        { className: "buttons" },
        say(allow, { en: "Allow", zh: "允许" }),
        say(deny, { en: "Deny", zh: "拒绝" }),
      ),
      trouble,
    );

    /** @param {boolean} decision */
    async function decide(decision) {
      allow.disabled = deny.disabled = true;
      trouble.replaceChildren();
      try {
        const body = { query, allow: decision };
        const { redirect_to } = await (await request("auth/consent", { method: "POST", body })).json();
        say(content, { en: "Done. You can close this window.", zh: "已完成，可以关闭此窗口。" });
        location.replace(redirect_to);
      } catch (error) {
        trouble.replaceChildren(problemNotice(error));
        allow.disabled = deny.disabled = false;
      }
    }
  }
}
