// OpenAI's client for JavaScript: stream an answer, then continue the conversation on the server.
import OpenAI from "openai";

const { AGENT_API_URL, AGENT_API_KEY } = process.env;
const client = new OpenAI({ baseURL: `${AGENT_API_URL}/v1`, apiKey: AGENT_API_KEY });

const messages = [{ role: "user" as const, content: "Hello" }];
for await (const chunk of await client.chat.completions.create({ model: "agent", messages, stream: true })) {
  process.stdout.write(chunk.choices[0]?.delta.content ?? "");
}
console.log();

const first = await client.responses.create({ model: "agent", input: "My name is Ada." });
const second = await client.responses.create({
  model: "agent",
  input: "What is my name?",
  previous_response_id: first.id,
});
console.log(second.output_text);
