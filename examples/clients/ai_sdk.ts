// The AI SDK's transport for LangGraph deployments, as `useChat({ transport })` uses it.
import { LangSmithDeploymentTransport } from "@ai-sdk/langchain";
import type { UIMessage } from "ai";

const { AGENT_API_URL, AGENT_API_KEY } = process.env;
const transport = new LangSmithDeploymentTransport({ url: AGENT_API_URL, apiKey: AGENT_API_KEY, graphId: "agent" });

const messages: UIMessage[] = [{ id: "1", role: "user", parts: [{ type: "text", text: "Hello" }] }];
const chunks = await transport.sendMessages({
  trigger: "submit-message",
  chatId: "example",
  messageId: undefined,
  messages,
  abortSignal: undefined,
});
for await (const chunk of chunks) {
  if (chunk.type === "text-delta") process.stdout.write(chunk.delta);
}
console.log();
