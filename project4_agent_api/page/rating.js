/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 *
 * @typedef {object} Feedback
 * @property {string} id
 * @property {number | null} score
 * @property {string | null} comment
 */

const KEY = "user_score";
const LONGEST_COMMENT = 10_000; // characters, the service's limit

/**
 * The user's rating of the last answer: good or bad, and a comment.
 *
 * @param {Page} page
 */
export function ratingView(page) {
  const { element, say, request, problemNotice } = page;
  const good = say(scoreButton(1), { en: "Good answer", zh: "回答得好" });
  const bad = say(scoreButton(0), { en: "Bad answer", zh: "回答得不好" });
  const comment = element("input", { id: "chat-comment", type: "text", maxLength: LONGEST_COMMENT });
  const label = say(element("label", { htmlFor: comment.id }), { en: "Comment", zh: "评语" });
  const save = say(element("button"), { en: "Save", zh: "保存" });
  const form = element("form", { hidden: true, onsubmit: saveComment }, label, comment, save);
  const status = element("p", { className: "hint", ariaLive: "polite" });
  const trouble = element("div");
  const scores = element("div", { className: "scores", role: "group" }, good, bad);
  const node = element("section", { className: "rating", hidden: true }, scores, form, status, trouble);
  let runId = "";
  /** @type {Feedback | undefined} */
  let given;

  /**
   * @param {string} id A run that has ended; "" for none.
   * @param {AbortSignal} signal
   */
  async function show(id, signal) {
    if (id !== runId) set(id, undefined);
    if (!id) return;
    const [found] = await (await request(`feedback?run=${id}&key=${KEY}`, { signal })).json();
    if (!signal.aborted) set(id, found);
  }

  /**
   * @param {string} id
   * @param {Feedback | undefined} feedback
   */
  function set(id, feedback) {
    runId = id;
    given = feedback;
    node.hidden = id === "";
    good.ariaPressed = String(feedback?.score === 1);
    bad.ariaPressed = String(feedback?.score === 0);
    form.hidden = !feedback;
    comment.value = feedback?.comment ?? "";
    say(status, { en: "", zh: "" });
    trouble.replaceChildren();
  }

  /** @param {number} score */
  function scoreButton(score) {
    return element("button", { type: "button", ariaPressed: "false", onclick: () => give({ score }) });
  }

  /** @param {Event} event */
  async function saveComment(event) {
    event.preventDefault();
    await give({ comment: comment.value.trim() || null });
  }

  /** @param {{score?: number, comment?: string | null}} change */
  async function give(change) {
    const rated = runId;
    try {
      const body = { run_id: rated, key: KEY, id: given?.id, score: given?.score, comment: given?.comment, ...change };
      const feedback = await (await request("feedback", { method: "POST", body })).json();
      if (rated !== runId) return; // another thread was opened meanwhile
      set(rated, feedback);
      say(status, { en: "Thank you, it is saved.", zh: "谢谢，已保存。" });
    } catch (error) {
      if (rated === runId) trouble.replaceChildren(problemNotice(error, () => give(change)));
    }
  }

  return { node, show, hide: () => set("", undefined) };
}
