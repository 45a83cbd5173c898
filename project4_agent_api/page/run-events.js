/**
 * @typedef {import("../../shared/page/page.js").Page} Page
 * @typedef {import("../../shared/page/sse.js").ServerEvent} ServerEvent
 */

const PAUSE_MILLISECONDS = 1000;
const UNAUTHORIZED = 401; // the access token has expired, or the session has ended

/**
 * Yield a run's events until it ends. The run does not depend on its readers, so a lost connection is reopened, and the
 * server resumes after the last event that was received.
 *
 * @param {Page} page
 * @param {string} threadId
 * @param {{body: object} | {runId: string}} run A run to start, or an existing one, whose events are replayed.
 * @param {AbortSignal} signal Stops reading; the run continues.
 * @returns {AsyncGenerator<ServerEvent, void, void>}
 * @throws {import("../../shared/page/problem.js").Problem} If the run cannot be started or read.
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
        // An error with a status concerns the connection; the run's own errors have none.
        if (event.event === "error" && event.data.status === UNAUTHORIZED && runId !== "") break; // requests renew it
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

  /** A stream that ended properly may be incomplete: a proxy may have closed it. */
  async function isOver() {
    const { status } = await (await request(`${runs}/${runId}`, { signal })).json();
    return status !== "pending" && status !== "running";
  }
}
