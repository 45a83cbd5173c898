import { useEffect, useState } from "react";
import { Chat } from "./Chat";
import { signOut, useSignedIn } from "./session";
import { SignIn } from "./SignIn";
import { Threads } from "./Threads";

export function App() {
  return useSignedIn() ? <Conversations /> : <SignIn />;
}

function Conversations() {
  const [threadId, setThreadId] = useThreadInAddress();
  const [isRunning, setIsRunning] = useState(false);
  // A new thread gets its id during its first run: the chat that runs must stay mounted then, and only then.
  const [chat, setChat] = useState(0);

  function open(id: string | null) {
    setThreadId(id);
    setChat((number) => number + 1);
  }

  return (
    <div className="app">
      <aside>
        <button onClick={() => open(null)}>New conversation</button>
        <Threads open={threadId} isRunning={isRunning} onOpen={open} />
        <button onClick={() => void signOut()}>Sign out</button>
      </aside>
      <Chat key={chat} threadId={threadId} onThreadId={setThreadId} onRunning={setIsRunning} />
    </div>
  );
}

/** The thread's id after `#`, so that a reload shows the same thread. */
function useThreadInAddress(): [string | null, (id: string | null) => void] {
  const [threadId, setThreadId] = useState(location.hash.slice(1) || null);
  useEffect(() => history.replaceState(null, "", threadId ? `#${threadId}` : location.pathname), [threadId]);
  return [threadId, setThreadId];
}
