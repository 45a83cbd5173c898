/** The programs that may act for the user: when they were last used, and a button that revokes the access. */

import { SCOPES } from "./consent.js";
import { dateText } from "./run-texts.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 *
 * @typedef {object} Grant
 * @property {string} id
 * @property {string} client_name
 * @property {string} redirect_host
 * @property {string[]} scopes
 * @property {string} created_at
 * @property {string | null} last_used_at
 */

export const title = { en: "Programs with access", zh: "已授权的程序" };

/**
 * @param {HTMLElement} root
 * @param {Page} page
 */
export function mount(root, { element, say, request, problemNotice }) {
  const list = element("ul", { className: "programs" });
  const status = element("p", { className: "hint", role: "status" });
  const trouble = element("div");
  root.append(status, list, trouble);
  load();

  async function load() {
    trouble.replaceChildren();
    try {
      /** @type {{items: Grant[]}} */
      const { items } = await (await request("auth/grants?limit=100")).json();
      list.replaceChildren(...items.map(item));
      sayCount();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, load));
    }
  }

  function sayCount() {
    const none = list.children.length === 0;
    list.hidden = none;
    say(
      status,
      none
        ? { en: "No program has signed in for you.", zh: "没有程序以你的身份登录。" }
        : { en: "These programs can use /mcp for you:", zh: "以下程序可以代表你使用 /mcp：" },
    );
  }

  /** @param {Grant} grant */
  function item({ id, client_name, redirect_host, scopes, created_at, last_used_at }) {
    const name = element("bdi", {}, client_name);
    const allowed = dateText(created_at); // to the second: it tells two sign-ins of one program apart
    const used = last_used_at ? dateText(last_used_at) : { en: "never", zh: "从未" };
    const remove = say(element("button", { type: "button" }), { en: "Remove", zh: "移除" });
    const node = element(
      "li",
      {},
      element("p", {}, element("strong", {}, name), " ", element("span", { className: "hint" }, redirect_host)),
      element("ul", {}, ...scopes.map((scope) => say(element("li"), SCOPES[scope] ?? { en: scope, zh: scope }))),
      element(
        "p",
        { className: "hint" },
        say(element("span"), {
          en: `Allowed ${allowed.en} · last used ${used.en}`,
          zh: `授权于 ${allowed.zh} · 最近使用 ${used.zh}`,
        }),
      ),
      remove,
    );
    remove.setAttribute("aria-describedby", (name.id = `program-${id}`));
    remove.addEventListener("click", async () => {
      remove.disabled = true;
      trouble.replaceChildren();
      try {
        await request(`auth/grants/${id}`, { method: "DELETE" });
        node.remove();
        sayCount();
      } catch (error) {
        trouble.replaceChildren(problemNotice(error));
        remove.disabled = false;
      }
    });
    return node;
  }
}
