// AG-UI's client: run an assistant, and approve the tool calls that it asks about.
import { HttpAgent } from "@ag-ui/client";

const { AGENT_API_URL, AGENT_API_KEY } = process.env;
const agent = new HttpAgent({
  url: `${AGENT_API_URL}/ag-ui/agent`,
  headers: { Authorization: `Bearer ${AGENT_API_KEY}` },
});
const print = {
  onTextMessageContentEvent: ({ event }: { event: { delta: string } }) => void process.stdout.write(event.delta),
};

agent.addMessage({ id: "1", role: "user", content: "What is six times seven?" });
await agent.runAgent({}, print);
while (agent.pendingInterrupts.length > 0) {
  const resume = agent.pendingInterrupts.map(({ id, metadata }) => {
    const { action_requests } = (metadata?.langgraph as any).raw;
    console.log("approving", action_requests.map(({ name }: { name: string }) => name).join(", "));
    const decisions = action_requests.map(() => ({ type: "approve" }));
    return { interruptId: id, status: "resolved" as const, payload: { decisions } };
  });
  await agent.runAgent({ resume }, print);
}
console.log();
