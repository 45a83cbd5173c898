import { type BaseMessage, HumanMessage } from "@langchain/core/messages";
import { useStream } from "@langchain/react";
import { type FormEvent, useEffect, useState } from "react";
import { Approval, type Question } from "./Approval";
import { Documents } from "./Documents";
import { Messages } from "./Messages";
import { authorizedFetch, client } from "./session";

interface Props {
  threadId: string | null;
  onThreadId: (threadId: string) => void;
  onRunning: (isRunning: boolean) => void;
}

/**
 * One thread. `useStream` reads its state, sends runs, and follows them; after a reload it finds the run that goes on and
 * follows that. The run itself is in a worker of the service, and does not depend on who looks.
 */
export function Chat({ threadId, onThreadId, onRunning }: Props) {
  const [draft, setDraft] = useState("");
  const stream = useStream<{ messages: BaseMessage[] }, Question>({
    client,
    fetch: authorizedFetch,
    assistantId: "agent",
    threadId,
    onThreadId,
  });
  // `onCompleted` is not always called for a run that was joined after a reload.
  useEffect(() => onRunning(stream.isLoading), [stream.isLoading, onRunning]);
  const isAsked = stream.interrupts.length > 0;

  function send(event: FormEvent) {
    event.preventDefault();
    void stream.submit({ messages: [new HumanMessage(draft)] });
    setDraft("");
  }

  return (
    <main aria-busy={stream.isLoading}>
      <Messages messages={stream.messages} isRunning={stream.isLoading} />
      {isAsked && !stream.isLoading && <Approval interrupts={stream.interrupts} onDecided={stream.respondAll} />}
      {stream.error != null && <p role="alert">{messageOf(stream.error)}</p>}
      <form className="composer" onSubmit={send}>
        <textarea
          aria-label="Message"
          value={draft}
          rows={2}
          placeholder="Ask about your documents, a calculation, or a web page"
          onChange={(event) => setDraft(event.target.value)}
          onKeyDown={(event) => {
            const isEnter = event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing;
            if (isEnter && draft.trim()) event.currentTarget.form?.requestSubmit();
          }}
        />
        {stream.isLoading ? (
          <button type="button" onClick={() => void stream.stop()}>
            Stop
          </button>
        ) : (
          <button className="primary" disabled={!draft.trim()}>
            Send
          </button>
        )}
      </form>
      <Documents />
    </main>
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
