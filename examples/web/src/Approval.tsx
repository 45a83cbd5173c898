import type { Interrupt } from "@langchain/langgraph-sdk";
import { useState } from "react";

/** The value of an interrupt, as LangChain's `HumanInTheLoopMiddleware` asks: each action needs a decision, in order. */
export interface Question {
  action_requests: { name: string; args: Record<string, unknown> }[];
}

type Decision = { type: "approve" } | { type: "reject"; message?: string };

interface Props {
  interrupts: Interrupt<Question>[];
  onDecided: (answers: Record<string, { decisions: Decision[] }>) => Promise<void>;
}

export function Approval({ interrupts, onDecided }: Props) {
  const actions = interrupts.flatMap(({ id, value }) =>
    (value?.action_requests ?? []).map((action, place) => ({ ...action, interrupt: id ?? "", key: `${id} ${place}` })),
  );
  const [decisions, setDecisions] = useState<Record<string, Decision>>({});

  function decide(key: string, decision: Decision) {
    const all = { ...decisions, [key]: decision };
    setDecisions(all);
    if (actions.some((action) => !all[action.key])) return;
    const answers: Record<string, { decisions: Decision[] }> = {};
    for (const { interrupt, key } of actions) (answers[interrupt] ??= { decisions: [] }).decisions.push(all[key]!);
    void onDecided(answers);
  }

  return (
    <section className="approval" aria-label="Approval">
      {actions.map(({ name, args, key }) => (
        <div key={key} role="group" aria-label={name}>
          <p>
            The assistant wants to call <code>{name}</code>.
          </p>
          <pre>{JSON.stringify(args, null, 2)}</pre>
          <div className="row">
            <button className="primary" disabled={!!decisions[key]} onClick={() => decide(key, { type: "approve" })}>
              Approve
            </button>
            <button disabled={!!decisions[key]} onClick={() => decide(key, { type: "reject" })}>
              Reject
            </button>
          </div>
        </div>
      ))}
    </section>
  );
}
