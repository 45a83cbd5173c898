// LangGraph's JavaScript library with graphs of the server inside its own: `RemoteGraph` as a graph and as a node, and
// what its client sends in two spellings.

import { Command, MemorySaver, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import { RemoteGraph } from "@langchain/langgraph/remote";
import { Client } from "@langchain/langgraph-sdk";

const [apiUrl, headers] = [process.argv[2], JSON.parse(process.argv[3])];
const client = new Client({ apiUrl, apiKey: null, defaultHeaders: headers });

function equal(actual, expected) {
  const [given, wanted] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (given !== wanted) throw new Error(`${given} is not ${wanted}`);
}

const remote = (graphId) => new RemoteGraph({ graphId, url: apiUrl, apiKey: "unused", headers });
const onThread = (thread_id) => ({
  configurable: { thread_id },
  metadata: { asked: "here" },
  tags: ["t"],
  runName: "named",
  maxConcurrency: 3,
});
const says = (content) => ({ messages: [{ role: "user", content }] });
const newThread = async () => (await client.threads.create()).thread_id;

async function invokesARemoteGraph() {
  const thread = onThread(await newThread());
  equal((await remote("counter").invoke({ count: 1 })).count, 4);
  equal((await remote("counter").invoke({ count: 1 }, thread)).count, 4);
  const state = await remote("counter").getState(thread);
  equal([state.values.count, state.metadata.asked], [4, "here"]);
  const history = [];
  for await (const snapshot of remote("counter").getStateHistory(thread)) history.push(snapshot.values.count);
  equal(history, [4, 3, 2, 1, 0].slice(0, history.length));
}

async function usesARemoteGraphAsANode() {
  const graph = new StateGraph(MessagesAnnotation)
    .addNode("remote", remote("chat"))
    .addEdge(START, "remote")
    .compile({ checkpointer: new MemorySaver() });
  const { messages } = await graph.invoke(says("The sum, please."), onThread(await newThread()));
  equal(messages.at(-1).content, "The sum is 5.");
}

async function streamsARemoteGraphAsASubgraph() {
  const inner = new StateGraph(MessagesAnnotation).addNode("remote", remote("chat")).addEdge(START, "remote").compile();
  const outer = new StateGraph(MessagesAnnotation).addNode("inner", inner).addEdge(START, "inner").compile();
  const options = { ...onThread(await newThread()), streamMode: "updates", subgraphs: true };
  const seen = [];
  for await (const [namespace, update] of await outer.stream(says("The sum, please."), options)) {
    seen.push([namespace.map((part) => part.split(":")[0]).join("|"), Object.keys(update)[0]].join(" "));
  }
  equal(seen, ["inner|remote model", "inner|remote tools", "inner|remote model", "inner remote", " inner"]);
}

async function answersARemoteQuestion() {
  const thread = onThread(await newThread());
  const asked = await remote("approval").invoke({ topic: "go" }, thread).catch(({ message }) => message);
  equal(asked.includes("May I go?"), true);
  equal((await remote("approval").getState(thread)).next, ["ask"]);
  const { answers } = await remote("approval").invoke(new Command({ resume: "yes" }), thread);
  equal(answers, ["prepared", "yes", "finished"]);
}

async function createsABatch() {
  const payloads = [1, 2].map((count) => ({
    assistantId: "counter",
    input: { count },
    streamMode: "values",
    multitaskStrategy: "enqueue",
    metadata: { count },
  }));
  const runs = await client.runs.createBatch(payloads);
  equal(runs.map(({ metadata }) => metadata.count), [1, 2]);
}

async function readsTheHistoryBeforeACheckpoint() {
  const thread_id = await newThread();
  await client.runs.wait(thread_id, "counter", { input: {} });
  const [newest, next] = await client.threads.getHistory(thread_id);
  const before = { configurable: { checkpoint_id: newest.checkpoint.checkpoint_id } };
  const [found] = await client.threads.getHistory(thread_id, { before });
  equal(found.checkpoint, next.checkpoint);
}

async function reloadsAStreamFromTheBeginning() {
  const thread_id = await newThread();
  const run = await client.runs.create(thread_id, "counter", { input: {}, streamResumable: true });
  await client.runs.join(thread_id, run.run_id);
  const events = [];
  for await (const { event } of client.runs.joinStream(thread_id, run.run_id, { lastEventId: "-1" })) events.push(event);
  equal(events[0], "metadata");
}

const checks = [
  invokesARemoteGraph,
  usesARemoteGraphAsANode,
  streamsARemoteGraphAsASubgraph,
  answersARemoteQuestion,
  createsABatch,
  readsTheHistoryBeforeACheckpoint,
  reloadsAStreamFromTheBeginning,
];
const failed = {};
for (const check of checks) {
  try {
    await check();
  } catch (error) {
    failed[check.name] = error.message;
  }
}
console.log(JSON.stringify({ done: checks.map(({ name }) => name), failed }));
