"""Responses that are kept: each is a run, and is read from the run's row and the checkpoints around it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from project4_agent_api.agents.client_tools import ClientTool, read_context
from project4_agent_api.core.postgres import Row
from project4_agent_api.models import RunStatus
from project4_agent_api.runs.spec import RunKey
from project4_agent_api.wires.conversations import Conversations
from project4_agent_api.wires.items import STOPPED, Ended, read_state
from project4_agent_api.wires.openai.ids import CONVERSATION, RESPONSE, decode_id, encode_id
from project4_agent_api.wires.openai.response_events import ResponseBuilder
from project4_agent_api.wires.openai.response_schemas import ResponseRequest
from project4_agent_api.wires.openai.tools import to_flat
from shared.errors import InvalidRequest, NotFound

METADATA = "openai"  # in the metadata of a run, with the part of the request that the response repeats
_STATUSES = {RunStatus.PENDING: "queued", RunStatus.RUNNING: "in_progress"}


def request_metadata(body: ResponseRequest) -> dict[str, Any]:
    """Return the part of a request that its response repeats."""
    return {
        "background": bool(body.background),
        "instructions": body.instructions,
        "metadata": body.metadata or {},
        "model": body.model,
        "previous_response_id": body.previous_response_id,
        "in_conversation": body.conversation is not None,
        "tool_choice": body.tool_choice,
    }


def new_response(
    key: RunKey, request: Mapping[str, Any], tools: Sequence[ClientTool], *, stored: bool = True
) -> dict[str, Any]:
    """Return the response of a run that has not started.

    Args:
        tools: Tools of the client.
    """
    conversation = {"id": encode_id(CONVERSATION, key.thread_id)} if request.get("in_conversation") else None
    return {
        "id": encode_id(RESPONSE, key.run_id),
        "object": "response",
        "created_at": (key.run_id.int >> 80) // 1000,  # an id of UUID version 7 begins with its milliseconds
        "status": "in_progress",
        "background": request.get("background", False),
        "conversation": conversation,
        "error": None,
        "incomplete_details": None,
        "instructions": request.get("instructions"),
        "max_output_tokens": None,
        "metadata": request.get("metadata", {}),
        "model": request["model"],
        "output": [],
        "parallel_tool_calls": True,
        "previous_response_id": request.get("previous_response_id"),
        "store": stored,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": request.get("tool_choice") or "auto",
        "tools": [to_flat(tool) for tool in tools],
        "top_p": None,
        "truncation": "disabled",
        "usage": None,
    }


@dataclass(frozen=True)
class StoredResponses:
    """The stored responses of a request's user."""

    conversations: Conversations

    async def find(self, response_id: str) -> RunKey:
        """Return the run of a response.

        Raises:
            NotFound: if there is none.
        """
        try:
            return await self.conversations.find_run(decode_id(RESPONSE, response_id))
        except NotFound:
            raise NotFound("There is no response with this id.") from None

    async def read(self, key: RunKey) -> dict[str, Any]:
        """Return a response as it is now; one that is not finished has no output yet.

        Raises:
            NotFound: if there is none.
            Conflict: if its graph cannot read its state any more.
        """
        run = await self.conversations.runs.get(key)
        builder = ResponseBuilder(self.empty(key, run))
        if (status := _STATUSES.get(run["status"])) is not None:
            return builder.response | {"status": status}
        before, last = await self.conversations.checkpoints_of_run(key)
        values = (await self.conversations.state_at(key, before))["values"] if before else {}
        state = await self.conversations.state_at(key, last) if last else {"values": {}, "interrupts": []}
        for item in read_state(values, _with_finished_tasks(state), state["interrupts"]):
            for _ in builder.add(item):
                pass
        error = await self._error(key, run)
        for _ in builder.add(Ended(error, run["status"] == RunStatus.INTERRUPTED, None)):
            pass
        return builder.snapshot()

    def empty(self, key: RunKey, run: Row) -> dict[str, Any]:
        """Return the response of a run without its output. The run need not be one of this API."""
        request = {"model": run["metadata"].get("graph_id", "")} | _stored_request(run)
        return new_response(key, request, _stored_tools(run))

    async def checkpoint_to_continue(self, key: RunKey) -> str | None:
        """Return the checkpoint from which a next response starts; None if it is the newest one of the thread."""
        _, last = await self.conversations.checkpoints_of_run(key)
        newest = await self.conversations.threads.states.get(key.owner_id, key.thread_id)
        return None if newest["checkpoint_id"] == last else last

    async def delete(self, key: RunKey) -> None:
        """Delete a finished response; the thread too, if nothing else is on it.

        Raises:
            NotFound: if there is none.
            Conflict: if it is not finished.
        """
        ids = {"thread_id": key.thread_id, "run_id": key.run_id}
        await self.conversations.authorize("DELETE /threads/{thread_id}/runs/{run_id}", ids=ids)
        runs, threads = self.conversations.runs, self.conversations.threads
        run = await runs.get(key)
        await runs.delete(key)
        in_conversation = _stored_request(run).get("in_conversation")
        if in_conversation or await runs.list(key.owner_id, key.thread_id, limit=1, offset=0, status=None):
            await threads.states.refresh(key.owner_id, key.thread_id)
        else:
            await threads.delete(key.owner_id, key.thread_id)

    async def _error(self, key: RunKey, run: Row) -> Mapping[str, Any] | None:
        if run["status"] in (RunStatus.SUCCESS, RunStatus.INTERRUPTED):
            return None if run["status"] == RunStatus.SUCCESS else STOPPED
        result = orjson.loads(await self.conversations.runs.result_if_finished(key) or b"{}")
        error: Mapping[str, Any] = result.get("__error__") or {}
        return error


def _with_finished_tasks(state: Mapping[str, Any]) -> Any:  # noqa: ANN401  any JSON
    """Return the values of a state, with the messages of tasks that have ended while others wait for an answer."""
    values = state["values"]
    if not isinstance(values, dict) or not isinstance(values.get("messages"), list):
        return values
    messages = values["messages"]
    for task in state.get("tasks", ()):
        added = task["result"].get("messages") if isinstance(task.get("result"), dict) else None
        messages = [*messages, *(added if isinstance(added, list) else [added])]
    return values | {"messages": messages}


def _stored_tools(run: Row) -> Sequence[ClientTool]:
    """Return the client's tools in the context of a run; none if a client of another wire stored something else."""
    try:
        return read_context(run["kwargs"].get("context")).get("client_tools", ())
    except InvalidRequest:
        return ()


def _stored_request(run: Row) -> dict[str, Any]:
    """Return what `request_metadata` has stored with a run; clients of other wires may store anything there."""
    stored = run["metadata"].get(METADATA)
    return stored if isinstance(stored, dict) else {}
