// A page with `useStream` of both packages: asks, may be loaded again in mid-answer, and shows the state as text.

import { useStream as useStreamOfReact } from "@langchain/react";
import { useStream as useStreamOfSdk } from "@langchain/langgraph-sdk/react";
import { useState } from "react";
import { createRoot } from "react-dom/client";

const options = JSON.parse(document.getElementById("options").textContent);
const useStream = options.package === "@langchain/react" ? useStreamOfReact : useStreamOfSdk;
const threadKey = `thread of ${options.package}`;

function Page() {
  const [threadId, setThreadId] = useState(() => sessionStorage.getItem(threadKey));
  const stream = useStream({
    apiUrl: options.apiUrl,
    apiKey: null,
    defaultHeaders: options.headers,
    assistantId: "slow",
    threadId,
    onThreadId: (id) => {
      sessionStorage.setItem(threadKey, id);
      setThreadId(id);
    },
    reconnectOnMount: true,
  });
  const start = () => stream.submit({ seconds: options.seconds }, { streamResumable: true, onDisconnect: "continue" });
  const shown = { loading: stream.isLoading, values: stream.values, error: stream.error ? String(stream.error) : null };
  return (
    <>
      <button onClick={start}>start</button>
      <pre>{JSON.stringify(shown)}</pre>
    </>
  );
}

createRoot(document.getElementById("root")).render(<Page />);
