// What a front end does with LangGraph's client: the same in Node and in a page.

import { Client } from "@langchain/langgraph-sdk";

function equal(actual, expected) {
  const [given, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (given !== wanted) throw new Error(`${given} is not ${wanted}`);
}

async function collect(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

const of = (events, name) => events.filter(({ event }) => event === name).map(({ data }) => data);

async function createsAThread(client) {
  const thread = await client.threads.create({ metadata: { from: "javascript" } });
  equal((await client.threads.get(thread.thread_id)).metadata, { from: "javascript" });
}

async function streamsInThreeModes(client) {
  const { thread_id } = await client.threads.create();
  let made;
  const events = await collect(
    client.runs.stream(thread_id, "chat", {
      input: { messages: [{ role: "user", content: "The sum, please." }] },
      streamMode: ["values", "updates", "messages-tuple"],
      onRunCreated: (run) => (made = run),
    }),
  );
  equal(events[0].event, "metadata");
  equal(made, { run_id: events[0].data.run_id, thread_id });
  equal(of(events, "values").at(-1).messages.at(-1).content, "The sum is 5.");
  equal(of(events, "updates").map((update) => Object.keys(update)[0]), ["model", "tools", "model"]);
  const chunks = of(events, "messages").map(([message]) => message).filter(({ type }) => type === "AIMessageChunk");
  equal(chunks.map(({ content }) => content).join(""), "The sum is 5.");
}

async function resumesAnInterrupt(client) {
  const { thread_id } = await client.threads.create();
  const asked = await collect(client.runs.stream(thread_id, "approval", { input: { topic: "go" }, streamMode: "values" }));
  equal(asked.at(-1).data.__interrupt__[0].value, { question: "May I go?" });
  equal((await client.threads.get(thread_id)).status, "interrupted");
  const answer = { command: { resume: "yes" }, streamMode: "values" };
  const answered = await collect(client.runs.stream(thread_id, "approval", answer));
  equal(answered.at(-1).data.answers, ["prepared", "yes", "finished"]);
}

async function joinsARunningStream(client) {
  const { thread_id } = await client.threads.create();
  const run = await client.runs.create(thread_id, "slow", {
    input: { seconds: 1 },
    streamMode: ["values", "custom"],
    streamResumable: true,
  });
  let left;
  for await (const { id, event } of client.runs.joinStream(thread_id, run.run_id, { lastEventId: "-" })) {
    left = id;
    if (event === "custom") break;
  }
  const rest = await collect(client.runs.joinStream(thread_id, run.run_id, { lastEventId: left, streamMode: ["values"] }));
  equal(of(rest, "values").map(({ done }) => done), [["lie_down", "sleep"]]);
  equal((await client.runs.get(thread_id, run.run_id)).status, "success");
}

async function seesAnError(client) {
  const { thread_id } = await client.threads.create();
  const events = await collect(client.runs.stream(thread_id, "failing", { input: {}, streamMode: "values" }));
  equal(events.at(-1).event, "error");
  equal(events.at(-1).data, { error: "ValueError", message: "It is broken." });
}

/** Send a request with a field that no server knows, as a client of a newer version does. */
function sendAsNewer(address, init) {
  const body = init?.body && JSON.stringify({ ...JSON.parse(init.body), x_newer_field: { of: "a newer version" } });
  return fetch(address, { ...init, body });
}

/** Do it all against a server; return the names of what was done, or throw at what fails. */
export async function smoke(apiUrl, defaultHeaders) {
  const client = new Client({ apiUrl, apiKey: null, defaultHeaders, callerOptions: { fetch: sendAsNewer } });
  const checks = [createsAThread, streamsInThreeModes, resumesAnInterrupt, joinsARunningStream, seesAnError];
  for (const check of checks) {
    try {
      await check(client);
    } catch (error) {
      throw new Error(`${check.name}: ${error.message}`, { cause: error });
    }
  }
  return checks.map(({ name }) => name);
}
