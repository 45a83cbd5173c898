/**
 * @typedef {import("./page.js").Page} Page
 * @typedef {import("./language.js").Text} Text
 */

/** @type {Record<string, {start: Text, end?: Text}>} An action without an end is over at once. */
const ACTIONS = {
  freeze_database: {
    start: { en: "Freeze the database", zh: "冻结数据库" },
    end: { en: "Unfreeze the database", zh: "恢复数据库" },
  },
  kill_worker: { start: { en: "Kill the worker", zh: "杀死 worker" } },
  slow_model: {
    start: { en: "Slow the model", zh: "放慢模型" },
    end: { en: "Let the model run", zh: "恢复模型速度" },
  },
};

/**
 * Buttons for what the launcher can do to the processes that it has started.
 *
 * @param {Page} page
 * @param {{onChange: () => void}} listeners
 */
export function controls({ element, say, request, problemNotice }, { onChange }) {
  const buttons = element("div", { className: "buttons" });
  const trouble = element("div");
  const node = element("div", { className: "xray-controls", hidden: true }, buttons, trouble);
  let state = "";

  /** @param {Record<string, boolean>} actions Those that are available, and whether they are in effect. */
  function show(actions) {
    const now = JSON.stringify(actions);
    if (now === state) return; // a button must not vanish while it is being clicked
    state = now;
    node.hidden = Object.keys(actions).length === 0;
    buttons.replaceChildren(...Object.entries(actions).map(([name, active]) => button(name, active)));
  }

  /**
   * @param {string} name
   * @param {boolean} active
   */
  function button(name, active) {
    const { start, end } = ACTIONS[name];
    const created = element("button", { type: "button", onclick: () => change(name, !active) });
    return say(created, (active && end) || start);
  }

  /**
   * @param {string} name
   * @param {boolean} active
   */
  async function change(name, active) {
    try {
      show(await (await request(`xray/actions/${name}`, { method: "POST", body: { active } })).json());
      trouble.replaceChildren();
      onChange();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error));
    }
  }

  return { node, show };
}
