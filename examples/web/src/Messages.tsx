import type { AIMessage, BaseMessage, ToolMessage } from "@langchain/core/messages";
import { Fragment } from "react";

interface Props {
  messages: BaseMessage[];
  isRunning: boolean;
}

/** What a search has found, for a number in brackets in the answer. */
interface Citation {
  marker: number;
  filename: string;
  page: number | null;
  quote: string;
}

export function Messages({ messages, isRunning }: Props) {
  const results = new Map<string, ToolMessage>();
  const citations = new Map<number, Citation>();
  for (const message of messages) {
    if (message.type !== "tool") continue;
    const result = message as ToolMessage;
    results.set(result.tool_call_id, result);
    for (const citation of (result.artifact?.citations ?? []) as Citation[]) citations.set(citation.marker, citation);
  }

  return (
    <ol className="messages" aria-label="Conversation">
      {messages.map((message, place) =>
        message.type === "human" || message.type === "ai" ? (
          <li key={message.id ?? place} className={message.type}>
            {calls(message).map((call) => (
              <ToolCall key={call.id} name={call.name} args={call.args} result={results.get(call.id ?? "")} isRunning={isRunning} />
            ))}
            <p>{message.type === "ai" ? withSources(message.text, citations) : message.text}</p>
          </li>
        ) : null,
      )}
    </ol>
  );
}

function calls(message: BaseMessage): NonNullable<AIMessage["tool_calls"]> {
  return message.type === "ai" ? ((message as AIMessage).tool_calls ?? []) : [];
}

interface ToolCallProps {
  name: string;
  args: Record<string, unknown>;
  result: ToolMessage | undefined;
  isRunning: boolean;
}

function ToolCall({ name, args, result, isRunning }: ToolCallProps) {
  const state = result ? (result.status === "error" ? "failed" : "done") : isRunning ? "running" : "waiting";
  return (
    <details className="call">
      <summary>
        <code>{name}</code> · {state}
      </summary>
      <pre>{JSON.stringify(args, null, 2)}</pre>
      {result && <pre>{result.text}</pre>}
    </details>
  );
}

/** The text with each `[3]` that a search has given as a button which shows the source. */
function withSources(text: string, citations: Map<number, Citation>) {
  return text.split(/(\[\d+\])/).map((part, place) => {
    const citation = place % 2 ? citations.get(Number(part.slice(1, -1))) : undefined;
    if (!citation) return <Fragment key={place}>{part}</Fragment>;
    const source = citation.filename + (citation.page ? `, page ${citation.page}` : "");
    return (
      <details key={place} className="source">
        <summary aria-label={`Source ${citation.marker}`}>{part}</summary>
        <cite>{source}</cite>
        <q>{citation.quote}</q>
      </details>
    );
  });
}
