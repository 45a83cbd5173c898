// MCP's client signs in through the user's browser, without an API key, and calls an assistant as a tool.
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type OAuthClientProvider, UnauthorizedError } from "@modelcontextprotocol/sdk/client/auth.js";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const callback = createServer((_, response) => response.end("You can close this window.")).listen(0, "127.0.0.1");
await once(callback, "listening");
const redirectUrl = `http://127.0.0.1:${(callback.address() as AddressInfo).port}/callback`;

// A real client keeps these for its next start, where nobody else can read them.
const stored: { client?: any; tokens?: any; verifier?: any } = {};
const authProvider: OAuthClientProvider = {
  redirectUrl,
  clientMetadata: { client_name: "An example", redirect_uris: [redirectUrl] },
  clientInformation: () => stored.client,
  saveClientInformation: (client) => void (stored.client = client),
  tokens: () => stored.tokens,
  saveTokens: (tokens) => void (stored.tokens = tokens),
  codeVerifier: () => stored.verifier,
  saveCodeVerifier: (verifier) => void (stored.verifier = verifier),
  redirectToAuthorization: (url) => console.log(`Open ${url}`),
};
const connect = () => new StreamableHTTPClientTransport(new URL(`${process.env.AGENT_API_URL}/mcp`), { authProvider });

const client = new Client({ name: "example", version: "1.0.0" });
const transport = connect();
await client.connect(transport).catch(async (error) => {
  if (!(error instanceof UnauthorizedError)) throw error;
  const [request] = await once(callback, "request");
  await transport.finishAuth(new URL(request.url, redirectUrl).searchParams.get("code") ?? "");
  await client.connect(connect());
});
const result = await client.callTool({ name: "agent", arguments: { message: "Hi, I am Ada." } });
console.log(result.structuredContent?.answer);
await client.close();
callback.close();
