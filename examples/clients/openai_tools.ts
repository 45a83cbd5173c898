// OpenAI's client for JavaScript: its helper executes the client's tool, and sends the result.
import OpenAI from "openai";

const { AGENT_API_URL, AGENT_API_KEY } = process.env;
const client = new OpenAI({ baseURL: `${AGENT_API_URL}/v1`, apiKey: AGENT_API_KEY });

const runner = client.chat.completions.runTools({
  model: "agent",
  stream: true,
  messages: [{ role: "user", content: "How warm is it in the kitchen?" }],
  tools: [
    {
      type: "function",
      function: {
        name: "read_thermometer",
        description: "Read the thermometer of a room.",
        parameters: { type: "object", properties: { room: { type: "string" } }, required: ["room"] },
        parse: JSON.parse,
        function: ({ room }: { room: string }) => `${room}: 21 degrees`,
      },
    },
  ],
});
console.log(await runner.finalContent());
