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
 * The form for a graph's interrupts. The run resumes when all of them are decided.
 *
 * @param {Page} page
 * @param {Interrupt[]} interrupts
 * @param {(resume: Record<string, unknown>) => void} onDecided Called with the answers, by interrupt id.
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
 * @returns {{action: Action, allowed: DecisionType[]}[] | null} Null if the interrupt is not an approval.
 */
function actionsOf(value) {
  if (!Array.isArray(value?.action_requests) || !Array.isArray(value.review_configs)) return null;
  /** @type {Map<string, DecisionType[]>} */
  const allowed = new Map(value.review_configs.map((/** @type {any} */ one) => [one.action_name, one.allowed_decisions]));
  return value.action_requests.map((/** @type {Action} */ action) => ({
    action,
    allowed: allowed.get(action.name) ?? [],
  }));
}

/**
 * A tool call to approve, edit or reject.
 *
 * @param {Page} page
 * @param {string} prefix Prefix of element ids.
 * @param {Action} action
 * @param {DecisionType[]} allowed
 * @param {(decision: object) => void} onDecision
 */
function actionView({ element, say, field }, prefix, { name, args }, allowed, onDecision) {
  const shown = JSON.stringify(args, null, 2);
  const question = element("p", { id: prefix });
  const words = say(element("span"), { en: "The assistant wants to call", zh: "助手想要调用" });
  question.append(words, " ", element("code", {}, name));
  const changed = field({
    id: `${prefix}-args`,
    control: element("textarea", { rows: 4, spellcheck: false, className: "json", value: shown }),
    label: { en: "Arguments", zh: "参数" },
    check: ({ value }) => wrongJson(value),
  });
  const message = field({
    id: `${prefix}-words`,
    control: element("textarea", { rows: 2 }),
    label: { en: "What to tell the assistant", zh: "告诉助手的话" },
    check: ({ value }) => (unfolded === "respond" ? blank(value) : null),
  });
  const confirm = element("button", { type: "button", className: "primary", onclick: confirmed });
  const more = element("div", { className: "more", hidden: true }, changed.node, message.node, element("div", {}, confirm));
  const buttons = element("div", { className: "buttons" });
  const node = element("div", { className: "decision", role: "group" });
  node.append(question, element("pre", {}, shown), buttons, more);
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
    message.node.hidden = type === "edit";
    say(confirm, CONFIRMATIONS[type]);
    (type === "edit" ? changed : message).control.focus();
  }

  function confirmed() {
    const { control, validate } = unfolded === "edit" ? changed : message;
    if (!validate()) return control.focus();
    const text = control.value.trim();
    if (unfolded === "edit") onDecision({ type: "edit", edited_action: { name, args: JSON.parse(text) } });
    else onDecision({ type: unfolded, ...(text && { message: text }) });
  }

  return node;
}

/**
 * Any other interrupt: shows its value as JSON, and takes JSON or text as the answer.
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
    check: ({ value }) => blank(value),
  });
  const send = element("button", { type: "button", className: "primary", onclick: confirmed });
  const shown = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return element(
    "div",
    { className: "decision" },
    element("pre", {}, shown),
    answer.node,
    element("div", { className: "buttons" }, say(send, { en: "Answer", zh: "回答" })),
  );

  function confirmed() {
    if (answer.validate()) onAnswer(parsed(answer.control.value));
    else answer.control.focus();
  }
}

/** @param {string} text JSON, or plain text. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** @param {string} value */
function blank(value) {
  return value.trim() === "" ? { en: "Please enter an answer.", zh: "请填写回答。" } : null;
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
  edit: { en: "Call with these arguments", zh: "按此调用" },
  reject: { en: "Do not call it", zh: "确认拒绝" },
  respond: { en: "Answer", zh: "回答" },
};
