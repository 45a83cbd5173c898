/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/sse.js").ServerEvent} ServerEvent
 */

const PAUSE_MILLISECONDS = 1000;

/**
 * Read a run's events to its end. The run goes on without its readers, so a connection that breaks is made again, and
 * nothing of the run is missed: the server goes on after the last event that was read.
 *
 * @param {Page} page
 * @param {string} threadId
 * @param {{body: object} | {runId: string}} run One to be begun, or one that is there, all of whose events are read.
 * @param {AbortSignal} signal Ends the reading, and not the run.
 * @returns {AsyncGenerator<ServerEvent, void, void>}
 * @throws {import("../../shared/page/problem.js").Problem} If the run cannot be begun, or read any more.
 */
export async function* runEvents({ streamEvents, request, Problem }, threadId, run, signal) {
  const runs = `threads/${threadId}/runs`;
  let runId = "runId" in run ? run.runId : "";
  let lastEventId = "";

  while (true) {
    try {
      for await (const event of connect()) {
        lastEventId = event.id;
        if (event.event === "metadata") runId = event.data.run_id;
        // What the run says of its own failure has no status; this is about the connection.
        if (event.event === "error" && "status" in event.data) throw new Problem(event.data);
        yield event;
      }
      if (runId === "") throw Problem.cut();
      if (await isOver()) return;
    } catch (error) {
      const isLost = error instanceof Problem && error.isTemporary && runId !== "";
      if (signal.aborted || !isLost) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MILLISECONDS));
  }

  function connect() {
    if (runId === "") return streamEvents(`${runs}/stream`, { ...run, signal });
    const headers = lastEventId === "" ? {} : { "Last-Event-ID": lastEventId };
    return streamEvents(`${runs}/${runId}/stream`, { headers, signal });
  }

  /** A proxy may end an answer in an orderly way, though there is more to come. */
  async function isOver() {
    const { status } = await (await request(`${runs}/${runId}`, { signal })).json();
    return status !== "pending" && status !== "running";
  }
}
