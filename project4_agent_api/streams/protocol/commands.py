"""The commands of the streaming protocol. Their results and errors have the protocol's own form."""

from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel, ValidationError

from project4_agent_api.core.postgres import Row, fetch_one
from project4_agent_api.graphs.commands import CommandBody
from project4_agent_api.models import ThreadStatus
from project4_agent_api.runs.request import RunRequest
from project4_agent_api.runs.schemas import ProtocolRun
from project4_agent_api.runs.service import Runs
from project4_agent_api.streams.protocol.schemas import Command, InputRespond, RunStart
from shared.errors import Conflict, InvalidRequest, ServiceError

# Commands of a persistent connection. Over HTTP, a subscription is a request for the stream.
_CONNECTION_COMMANDS = {
    "agent.getTree",
    "subscription.subscribe",
    "subscription.unsubscribe",
    "subscription.reconnect",
}
_SERVER_ERROR = 500

_GET_THREAD = "SELECT status, interrupts, metadata FROM threads WHERE thread_id = %s AND owner_id = %s"

Params = TypeVar("Params", bound=BaseModel)


class RefusedCommand(Exception):
    """A command that is refused.

    Attributes:
        code: One of the protocol's error codes.
        message: Shown to people.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True)
class Commands:
    """Executes commands to one thread."""

    runs: Runs
    owner_id: UUID
    thread_id: UUID
    request_id: str | None

    async def execute(self, command: Command) -> dict[str, Any]:
        """Execute a command, and return its response.

        Raises:
            ServiceError: if a server is unavailable. Errors of the client are part of the response.
        """
        try:
            result = await self._execute(command.method, command.params or {})
        except RefusedCommand as refused:
            return _error_response(command.id, refused.code, refused.message)
        except ServiceError as error:
            if error.status >= _SERVER_ERROR:
                raise
            return _error_response(command.id, "unknown_error", error.detail)
        # The command read no events, so it cannot tell which of them came before it.
        return {"type": "success", "id": command.id, "result": result, "meta": {"applied_through_seq": 0}}

    async def _execute(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method == "run.start":
            return await self._start(params)
        if method == "input.respond":
            return await self._respond(params)
        if method in _CONNECTION_COMMANDS:
            message = f"`{method}` needs a persistent connection. Subscribe with POST /threads/{{id}}/stream/events."
            raise RefusedCommand("not_supported", message)
        raise RefusedCommand("unknown_command", f"There is no command `{method}`.")

    async def _start(self, params: dict[str, Any]) -> dict[str, Any]:
        """Start a run. If the graph waits for an answer, the input is the answer."""
        start = _validate(RunStart, params)
        continues = start.input is not None and not (start.config and start.config.checkpoint_id)
        answers = continues and bool(_open_questions(await self._thread()))
        run = _validate(
            ProtocolRun,
            {
                "assistant_id": start.assistant_id,
                "input": None if answers else start.input,
                "command": CommandBody(resume=start.input) if answers else None,
                "config": start.config,
                "metadata": start.metadata,
                "multitask_strategy": start.multitask_strategy or start.multitaskStrategy,
                "if_not_exists": "create",
                "stream_subgraphs": True,
            },
        )
        return {"run_id": str(await self._create_run(run))}

    async def _respond(self, params: dict[str, Any]) -> dict[str, Any]:
        """Start a run that continues with the answers to questions."""
        respond = _validate(InputRespond, params)
        thread = await self._thread()
        assistant_id = thread["metadata"].get("assistant_id") if thread else None
        questions = _open_questions(thread)
        for interrupt_id in respond.answers():
            if thread and interrupt_id not in questions:
                raise RefusedCommand("no_such_interrupt", f"No question `{interrupt_id}` is open.")
        if assistant_id is None:
            raise RefusedCommand("no_such_run", "No run of this thread has an open question.")
        run = _validate(
            ProtocolRun,
            {
                "assistant_id": assistant_id,
                "command": CommandBody(resume=respond.answers(), update=respond.update, goto=respond.goto),
                "config": respond.config,
                "metadata": respond.metadata,
                "strict_resume": respond.strict_resume,
                "multitask_strategy": "reject",
                "stream_subgraphs": True,
            },
        )
        try:
            await self._create_run(run)
        except Conflict:
            raise RefusedCommand("no_such_interrupt", "The question has been answered already.") from None
        return {}

    async def _create_run(self, run: ProtocolRun) -> UUID:
        try:
            request = RunRequest.new(run, self.owner_id, self.thread_id, self.request_id)
        except InvalidRequest as error:
            raise RefusedCommand("invalid_argument", error.detail) from None
        await self.runs.create(request)
        return request.key.run_id

    async def _thread(self) -> Row | None:
        return await fetch_one(self.runs.pool, _GET_THREAD, [self.thread_id, self.owner_id])


def _open_questions(thread: Row | None) -> set[str]:
    """Return the ids of the questions that wait for an answer, also after an invalid one. There are none in a run."""
    if thread is None or thread["status"] == ThreadStatus.BUSY:
        return set()
    return {interrupt["id"] for of_task in thread["interrupts"].values() for interrupt in of_task}


def _validate(model: type[Params], params: dict[str, Any]) -> Params:
    try:
        return model.model_validate(params)
    except ValidationError as error:
        raise RefusedCommand("invalid_argument", describe_error(error)) from None


def describe_error(error: ValidationError) -> str:
    """Return the first error of a validation, with its location."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"]))
    return f"{place}: {first['msg']}" if place else first["msg"]


def _error_response(command_id: int, code: str, message: str) -> dict[str, Any]:
    return {"type": "error", "id": command_id, "error": code, "message": message}
