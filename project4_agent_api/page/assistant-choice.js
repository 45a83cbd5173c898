/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 *
 * @typedef {object} Assistant
 * @property {string} assistant_id
 * @property {string} graph_id
 * @property {string} name
 * @property {string | null} description
 */

/** Chinese descriptions of the built-in assistants, by the English ones; those of users have one language. */
const IN_CHINESE = new Map([
  [
    "Answers with the help of tools: a calculator, the time, search in your documents, web pages, and a memory of you.",
    "借助工具回答：计算器、时间、文档检索、网页，以及对你的记忆。",
  ],
  [
    "Answers from your documents only, with citations, and refuses questions that they do not answer.",
    "只根据你的文档回答，给出引用；文档中没有答案的问题会拒绝回答。",
  ],
]);

/**
 * The choice of the assistant for a new thread: a built-in one, or one of the user's own.
 *
 * @param {Page} page
 * @param {{onSchema: (schema: Record<string, any> | null) => void}} listeners Called with the input schema of
 *   the chosen assistant, or null if it has none.
 */
export function assistantChoice({ element, say, request, problemNotice }, { onSchema }) {
  const select = element("select", { id: "chat-assistant", onchange: show });
  const label = say(element("label", { htmlFor: select.id }), { en: "Assistant", zh: "助手" });
  const description = element("p", { className: "hint", id: "chat-assistant-hint" });
  select.setAttribute("aria-describedby", description.id);
  const trouble = element("div");
  const node = element("div", { className: "field" }, label, select, description, trouble);

  /** @type {Assistant[]} */
  let assistants = [];

  async function load() {
    try {
      const body = { limit: 100, sort_by: "name", sort_order: "asc" };
      assistants = await (await request("assistants/search", { method: "POST", body })).json();
      select.replaceChildren(
        ...assistants.map(({ assistant_id, name }) => element("option", { value: assistant_id }, name)),
      );
      trouble.replaceChildren();
      await show();
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, load));
    }
  }

  async function show() {
    const id = select.value;
    const chosen = assistants.find((one) => one.assistant_id === id);
    const text = chosen?.description ?? "";
    say(description, { en: text, zh: IN_CHINESE.get(text) ?? text });
    try {
      const { input_schema } = await (await request(`assistants/${id}/schemas`)).json();
      trouble.replaceChildren();
      if (id === select.value) onSchema(input_schema);
    } catch (error) {
      trouble.replaceChildren(problemNotice(error, show));
    }
  }

  /**
   * Keep to the one that a thread was begun with; a thread's state is its graph's.
   *
   * @param {Record<string, any>} metadata Of the thread.
   */
  async function keepTo({ assistant_id, graph_id }) {
    const found = [assistant_id, assistants.find((one) => one.graph_id === graph_id)?.assistant_id].find((id) =>
      assistants.some((one) => one.assistant_id === id),
    );
    select.disabled = found !== undefined;
    if (found === undefined || found === select.value) return;
    select.value = found;
    await show();
  }

  function free() {
    select.disabled = false;
  }

  return { node, load, keepTo, free, chosen: () => select.value };
}
