import type { Thread } from "@langchain/langgraph-sdk";
import { useEffect, useState } from "react";
import { client } from "./session";

interface Props {
  open: string | null;
  isRunning: boolean; // the list is read again when a run begins or ends
  onOpen: (threadId: string | null) => void;
}

export function Threads({ open, isRunning, onOpen }: Props) {
  const [threads, setThreads] = useState<Thread[]>([]);

  useEffect(() => {
    let isCurrent = true;
    const query = { limit: 30, sortBy: "updated_at", sortOrder: "desc" } as const;
    client.threads.search(query).then(
      (found) => isCurrent && setThreads(found),
      (error) => console.warn("The list of threads could not be read.", error),
    );
    return () => {
      isCurrent = false;
    };
  }, [open, isRunning]);

  async function remove(id: string) {
    await client.threads.delete(id);
    setThreads((all) => all.filter((thread) => thread.thread_id !== id));
    if (id === open) onOpen(null);
  }

  return (
    <nav aria-label="Conversations">
      <ul>
        {threads.map((thread) => (
          <li key={thread.thread_id} aria-current={thread.thread_id === open}>
            <button className="link" onClick={() => onOpen(thread.thread_id)}>
              {titleOf(thread)}
            </button>
            <button className="link" aria-label={`Delete ${titleOf(thread)}`} onClick={() => void remove(thread.thread_id)}>
              ×
            </button>
          </li>
        ))}
      </ul>
    </nav>
  );
}

/** The first question, as far as it fits. */
function titleOf({ values }: Thread): string {
  const first = (values as { messages?: { content: unknown }[] } | null)?.messages?.[0]?.content;
  return typeof first === "string" && first ? first.slice(0, 40) : "…";
}
