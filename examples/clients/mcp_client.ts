// MCP's client: list the assistants and documents of the service, and call an assistant as a tool.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const { AGENT_API_URL, AGENT_API_KEY } = process.env;
const client = new Client({ name: "example", version: "1.0.0" });
const requestInit = { headers: { Authorization: `Bearer ${AGENT_API_KEY}` } };
await client.connect(new StreamableHTTPClientTransport(new URL(`${AGENT_API_URL}/mcp`), { requestInit }));

const { tools } = await client.listTools();
console.log(tools.map(({ name }) => name).includes("agent"), (await client.listResources()).resources.length);

const result = await client.callTool({ name: "agent", arguments: { message: "Hi, I am Ada." } }, undefined, {
  onprogress: ({ message }) => console.log(message),
});
console.log(result.structuredContent?.answer);
await client.close();
