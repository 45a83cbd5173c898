import { wrongJson } from "./composer.js";

/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/language.js").Text} Text
 *
 * @typedef {object} Interrupt A question that a graph asks.
 * @property {string} id
 * @property {any} value
 *
 * @typedef {object} Action A call that waits, as LangChain's `HumanInTheLoopMiddleware` puts it.
 * @property {string} name
 * @property {Record<string, unknown>} args
 *
 * @typedef {"approve" | "edit" | "reject" | "respond"} DecisionType
 */

/**
 * What a graph wants to know before it goes on. It goes on when everything is decided.
 *
 * @param {Page} page
 * @param {Interrupt[]} interrupts
 * @param {(resume: Record<string, unknown>) => void} onDecided Given the answers, by the questions' ids.
 */
export function approvalForm(page, interrupts, onDecided) {
  const { element, say } = page;
  const heading = say(element("h3", { tabIndex: -1 }), { en: "Your decision is needed", zh: "需要你的决定" });
  const node = element("section", { className: "approval" }, heading);
  /** @type {Record<string, unknown[]>} */
  const decisions = {};

  interrupts.forEach(({ id, value }, number) => {
    const actions = actionsOf(value);
    decisions[id] = Array.from({ length: actions?.length ?? 1 });
    const prefix = `chat-decision-${number}`;
    if (!actions) node.append(questionView(page, prefix, value, (answer) => decide(id, 0, answer)));
    actions?.forEach(({ action, allowed }, place) => {
      node.append(actionView(page, `${prefix}-${place}`, action, allowed, (decision) => decide(id, place, decision)));
    });
  });

  /**
   * @param {string} id
   * @param {number} place
   * @param {unknown} decision
   */
  function decide(id, place, decision) {
    decisions[id][place] = decision;
    if (Object.values(decisions).flat().includes(undefined)) return;
    onDecided(
      Object.fromEntries(
        interrupts.map(({ id, value }) => [id, actionsOf(value) ? { decisions: decisions[id] } : decisions[id][0]]),
      ),
    );
  }

  return { node, focus: () => heading.focus({ preventScroll: true }) };
}

/**
 * @param {any} value
 * @returns {{action: Action, allowed: DecisionType[]}[] | null} Null, if the question is one of another kind.
 */
function actionsOf(value) {
  if (!Array.isArray(value?.action_requests) || !Array.isArray(value.review_configs)) return null;
  return value.action_requests.map((/** @type {Action} */ action) => ({
    action,
    allowed: value.review_configs.find((/** @type {any} */ one) => one.action_name === action.name)?.allowed_decisions ?? [],
  }));
}

/**
 * A call that may be made or not.
 *
 * @param {Page} page
 * @param {string} prefix Of ids.
 * @param {Action} action
 * @param {DecisionType[]} allowed
 * @param {(decision: object) => void} onDecision
 */
function actionView({ element, say, field }, prefix, { name, args }, allowed, onDecision) {
  const shown = JSON.stringify(args, null, 2);
  const question = element("p", { id: prefix });
  question.append(say(element("span"), { en: "The assistant wants to call", zh: "助手想要调用" }), " ", element("code", {}, name));
  const changed = field({
    id: `${prefix}-args`,
    control: element("textarea", { rows: 4, spellcheck: false, className: "json", value: shown }),
    label: { en: "Arguments", zh: "参数" },
    check: ({ value }) => wrongJson(value),
  });
  const words = field({
    id: `${prefix}-words`,
    control: element("textarea", { rows: 2 }),
    label: { en: "What to tell the assistant", zh: "告诉助手的话" },
    check: ({ value }) => (unfolded === "respond" && value.trim() === "" ? { en: "Please write an answer.", zh: "请填写回答。" } : null),
  });
  const confirm = element("button", { type: "button", className: "primary", onclick: confirmed });
  const more = element("div", { className: "more", hidden: true }, changed.node, words.node, element("div", {}, confirm));
  const buttons = element("div", { className: "buttons" });
  const node = element("div", { className: "decision", role: "group" }, question, element("pre", {}, shown), buttons, more);
  node.setAttribute("aria-labelledby", question.id);

  /** @type {DecisionType | null} */
  let unfolded = null;
  for (const type of allowed) {
    const button = element("button", { type: "button", onclick: () => choose(type) });
    buttons.append(say(button, LABELS[type]));
    button.dataset.type = type;
    if (type === "approve") button.className = "primary";
  }

  /** @param {DecisionType} type */
  function choose(type) {
    for (const button of buttons.querySelectorAll("button")) button.ariaPressed = String(button.dataset.type === type);
    unfolded = type;
    more.hidden = type === "approve";
    if (type === "approve") return onDecision({ type });
    changed.node.hidden = type !== "edit";
    words.node.hidden = type === "edit";
    say(confirm, CONFIRMATIONS[type]);
    (type === "edit" ? changed : words).control.focus();
  }

  function confirmed() {
    const { control, validate } = unfolded === "edit" ? changed : words;
    if (!validate()) return control.focus();
    const text = control.value.trim();
    if (unfolded === "edit") onDecision({ type: "edit", edited_action: { name, args: JSON.parse(text) } });
    else onDecision({ type: unfolded, ...(text && { message: text }) });
  }

  return node;
}

/**
 * A question of any other kind: JSON in, JSON or text out.
 *
 * @param {Page} page
 * @param {string} prefix
 * @param {unknown} value
 * @param {(answer: unknown) => void} onAnswer
 */
function questionView({ element, say, field }, prefix, value, onAnswer) {
  const answer = field({
    id: prefix,
    control: element("textarea", { rows: 2 }),
    label: { en: "Your answer", zh: "你的回答" },
    hint: { en: "Text, or JSON.", zh: "文字或 JSON。" },
    check: ({ value }) => (value.trim() === "" ? { en: "Please write an answer.", zh: "请填写回答。" } : null),
  });
  const send = element("button", { type: "button", className: "primary", onclick: () => answer.validate() && onAnswer(parsed()) });
  const shown = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return element(
    "div",
    { className: "decision" },
    element("pre", {}, shown),
    answer.node,
    element("div", { className: "buttons" }, say(send, { en: "Answer", zh: "回答" })),
  );

  function parsed() {
    try {
      return JSON.parse(answer.control.value);
    } catch {
      return answer.control.value;
    }
  }
}

/** @type {Record<DecisionType, Text>} */
const LABELS = {
  approve: { en: "Approve", zh: "批准" },
  edit: { en: "Edit", zh: "修改" },
  reject: { en: "Reject", zh: "拒绝" },
  respond: { en: "Answer instead", zh: "代为回答" },
};
/** @type {Record<Exclude<DecisionType, "approve">, Text>} */
const CONFIRMATIONS = {
  edit: { en: "Call it so", zh: "按此调用" },
  reject: { en: "Do not call it", zh: "确认拒绝" },
  respond: { en: "Answer", zh: "回答" },
};
