"""A request of A2A: read its message, follow its run, and load its task."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any
from uuid import UUID

from a2a.server.context import ServerCallContext
from a2a.server.events import Event
from a2a.types import a2a_pb2 as a2a
from a2a.utils import errors
from a2a.utils.constants import DEFAULT_LIST_TASKS_PAGE_SIZE, MAX_LIST_TASKS_PAGE_SIZE
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from google.protobuf.json_format import MessageToDict
from loguru import logger
from starlette.exceptions import HTTPException

from project4_agent_api.wires.a2a.tasks import CONTEXT, StoredTask, get_task, list_tasks, thread_of_context, to_task
from project4_agent_api.wires.conversations import Conversations, Run
from project4_agent_api.wires.graph_inputs import input_form
from project4_agent_api.wires.items import Citation, Interrupt, Item, Started, Text, ToolCall
from project4_agent_api.wires.messages import last_turn, to_messages
from shared.errors import NotFound, ServiceError

_MAX_CONTEXT_ID = 200
OUTPUT_MODES = ["text/plain", "application/json"]


@dataclass(frozen=True)
class Call:
    """A request for the assistant in its path."""

    conversations: Conversations
    assistant: str

    @classmethod
    def from_context(cls, context: ServerCallContext) -> "Call":
        """Return the call of a request that the routes have authenticated."""
        request: Request = context.state["request"]
        return cls(Conversations.from_request(request), request.path_params["assistant_id"])

    async def read(self, params: a2a.SendMessageRequest) -> tuple[dict[str, Any], UUID, UUID | None]:
        """Read a message.

        Returns:
            The run that it becomes, its thread, and the task that it continues.
        """
        message, configuration = params.message, params.configuration
        modes = configuration.accepted_output_modes
        if modes and not any(mode in ("*/*", "text/*", *OUTPUT_MODES) for mode in modes):
            raise errors.ContentTypeNotSupportedError(f"The assistant answers with {' and '.join(OUTPUT_MODES)}.")
        if configuration.HasField("task_push_notification_config"):
            raise errors.PushNotificationNotSupportedError
        if configuration.history_length < 0:
            raise errors.InvalidParamsError("historyLength has to be 0 or more.")
        if not message.message_id or message.role != a2a.Role.ROLE_USER or not message.parts:
            raise errors.InvalidParamsError("A message needs a messageId, the role of a user, and parts.")
        assistant_id = await self.conversations.resolve_assistant(self.assistant)
        body: dict[str, Any] = {"assistant_id": str(assistant_id), "on_disconnect": "continue"}
        if message.task_id:
            return await self._continue(message, body)
        form = await input_form(self.conversations, await self.conversations.get_assistant(assistant_id))
        values = [_part_value(part) for part in message.parts]
        if form.kind == "message":
            texts = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values]
            run_input, _ = form.read({"message": "\n".join(texts)})
        elif len(values) == 1 and not isinstance(values[0], str):
            run_input = values[0]
        else:
            raise errors.InvalidParamsError("The assistant takes no text, but one part with data: the graph's input.")
        return {**body, "input": run_input}, await self._thread(message.context_id), None

    async def _thread(self, context_id: str) -> UUID:
        """Return the thread of a context, which is created if there is none. Clients may choose any id for it."""
        if not context_id:
            return await self.conversations.create_thread({})
        if len(context_id) > _MAX_CONTEXT_ID or not context_id.isprintable():
            raise errors.InvalidParamsError(f"contextId has at most {_MAX_CONTEXT_ID} characters, all printable.")
        thread_id = thread_of_context(self.conversations.account_id, context_id)
        try:
            await self.conversations.get_thread(thread_id)
        except NotFound:
            metadata = {} if str(thread_id) == context_id.lower() else {CONTEXT: context_id}
            await self.conversations.create_thread(metadata, thread_id)
        return thread_id

    async def _continue(self, message: a2a.Message, body: dict[str, Any]) -> tuple[dict[str, Any], UUID, UUID]:
        stored = await self.find(message.task_id)
        if message.context_id and message.context_id != stored.context_id:
            raise errors.InvalidParamsError("The contextId is not that of the task.")
        if not stored.waits:
            raise errors.UnsupportedOperationError("The task does not wait for a message.")
        questions = await self.conversations.open_interrupts(stored.key.thread_id)
        resume = answers(questions, [_part_value(part) for part in message.parts])
        return {**body, "command": {"resume": resume}, "strict_resume": True}, stored.key.thread_id, stored.key.run_id

    async def follow(
        self, run: Run, task_id: UUID, configuration: a2a.SendMessageConfiguration | None = None
    ) -> AsyncIterator[Event]:
        """Yield the task, what a run adds to it, and its last status."""
        task = await self.task(task_id, configuration)
        yield task
        stream = _Stream(task.id, task.context_id)
        async with aclosing(run.items()) as items:
            async for item in items:
                for event in stream.convert(item):
                    yield event
        ended = await self.task(task_id)
        written = {artifact.artifact_id for artifact in task.artifacts} | stream.written
        for artifact in ended.artifacts:
            if artifact.artifact_id not in written:
                yield a2a.TaskArtifactUpdateEvent(
                    task_id=task.id, context_id=task.context_id, artifact=artifact, last_chunk=True
                )
        yield a2a.TaskStatusUpdateEvent(task_id=task.id, context_id=task.context_id, status=ended.status)

    async def find(self, task_id: str) -> StoredTask:
        """Return a stored task.

        Raises:
            TaskNotFoundError: if there is none, or it is another user's.
        """
        try:
            key = await self.conversations.find_run(UUID(task_id))
        except (ValueError, NotFound):
            raise errors.TaskNotFoundError from None
        stored = await get_task(self.conversations.runs.pool, key)
        if stored is None:
            raise errors.TaskNotFoundError
        return stored

    async def task(
        self, run_id: UUID, configuration: "a2a.SendMessageConfiguration | a2a.GetTaskRequest | None" = None
    ) -> a2a.Task:
        """Return the task that begins with a run."""
        if configuration and configuration.history_length < 0:
            raise errors.InvalidParamsError("historyLength has to be 0 or more.")
        length = configuration.history_length if configuration and configuration.HasField("history_length") else None
        return await self._load(await self.find(str(run_id)), length)

    async def _load(self, stored: StoredTask, history_length: int | None, *, artifacts: bool = True) -> a2a.Task:
        questions = await self.conversations.open_interrupts(stored.key.thread_id) if stored.waits else []
        _, last = await self.conversations.checkpoints_of_run(stored.last_run)
        state = (await self.conversations.state_at(stored.key, last))["values"] if last else None
        messages = state.get("messages") if isinstance(state, dict) else None
        output = state if stored.is_over and not isinstance(messages, list) else None
        task = to_task(stored, last_turn(to_messages(messages)), questions, output)
        if history_length is not None:
            kept = list(task.history)[-history_length:] if history_length else []
            del task.history[:]
            task.history.extend(kept)
        if not artifacts:
            del task.artifacts[:]
        return task

    async def list(self, params: a2a.ListTasksRequest) -> a2a.ListTasksResponse:
        """Return a page of tasks."""
        size = params.page_size if params.HasField("page_size") else DEFAULT_LIST_TASKS_PAGE_SIZE
        if not 1 <= size <= MAX_LIST_TASKS_PAGE_SIZE:
            raise errors.InvalidParamsError(f"pageSize has to be between 1 and {MAX_LIST_TASKS_PAGE_SIZE}.")
        if params.history_length < 0:
            raise errors.InvalidParamsError("historyLength has to be 0 or more.")
        since = params.status_timestamp_after
        owner_id = await self.conversations.authorize("POST /threads/search", {})
        found, total = await list_tasks(
            self.conversations.runs.pool,
            owner_id,
            await self.conversations.resolve_assistant(self.assistant),
            thread_id=thread_of_context(self.conversations.account_id, params.context_id)
            if params.context_id
            else None,
            state=a2a.TaskState.Name(params.status) if params.status else None,
            since=since.ToDatetime(UTC) if params.HasField("status_timestamp_after") else None,
            before=_uuid(params.page_token, "pageToken") if params.page_token else None,
            limit=size + 1,
        )
        length = params.history_length if params.HasField("history_length") else 0
        tasks = [await self._load(task, length, artifacts=params.include_artifacts) for task in found[:size]]
        following = str(found[size - 1].key.run_id) if len(found) > size else ""
        return a2a.ListTasksResponse(tasks=tasks, next_page_token=following, page_size=size, total_size=total)


@dataclass
class _Stream:
    """Converts the items of a run to events of a task."""

    task_id: str
    context_id: str
    written: set[str] = field(default_factory=set)

    def convert(self, item: Item) -> Iterator[Event]:
        match item:
            case Started():
                self.written.clear()  # a later attempt writes its messages again
                yield self._status()
            case Text():
                part = a2a.Part(text=item.text)
                artifact = a2a.Artifact(artifact_id=item.message_id, name="answer", parts=[part])
                yield a2a.TaskArtifactUpdateEvent(
                    task_id=self.task_id,
                    context_id=self.context_id,
                    artifact=artifact,
                    append=item.message_id in self.written,
                )
                self.written.add(item.message_id)
            case ToolCall():
                yield self._status(toolCall={"id": item.call_id, "name": item.name})
            case Citation():
                yield self._status(citation={name: getattr(item, name) for name in Citation.__dataclass_fields__})

    def _status(self, **metadata: Any) -> a2a.TaskStatusUpdateEvent:
        status = a2a.TaskStatus(state=a2a.TaskState.TASK_STATE_WORKING)
        status.timestamp.GetCurrentTime()
        event = a2a.TaskStatusUpdateEvent(task_id=self.task_id, context_id=self.context_id, status=status)
        event.metadata.update(metadata)
        return event


def answers(questions: "list[Interrupt]", values: "list[Any]") -> dict[str, Any]:
    """Return the values to resume with, by the ids of questions.

    Several questions are answered by an object with their ids. A request for approval is answered by LangChain's
    `decisions`, or by the text `approve` or `reject` for all of its actions.
    """
    value = values[0] if len(values) == 1 else values
    ids = {question.id for question in questions}
    if isinstance(value, dict) and value.keys() == ids:
        return value
    if len(questions) != 1:
        raise errors.InvalidParamsError(f"Answer with data: an object with the keys {', '.join(sorted(ids))}.")
    actions = questions[0].value.get("action_requests") if isinstance(questions[0].value, dict) else None
    if isinstance(actions, list) and isinstance(value, str):
        if (decision := value.strip().lower()) not in ("approve", "reject"):
            raise errors.InvalidParamsError("Answer with the text `approve` or `reject`, or with data: `decisions`.")
        value = {"decisions": [{"type": decision}] * len(actions)}
    return {questions[0].id: value}


@contextmanager
def translated_errors() -> Iterator[None]:
    """Convert the service's errors to those of A2A. Details of internal errors are only logged."""
    try:
        yield
    except (errors.A2AError, GeneratorExit):
        raise
    except (ServiceError, HTTPException) as error:  # the latter by a project's own authorization
        status = error.status if isinstance(error, ServiceError) else error.status_code
        kind = errors.InvalidParamsError if status < 500 else errors.InternalError
        raise kind(error.detail) from None
    except RequestValidationError as error:
        text = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise errors.InvalidParamsError(text) from None
    except Exception as error:  # noqa: BLE001  a graph's factory may raise anything
        logger.opt(exception=error).error("a method of A2A failed: {}", type(error).__name__)
        raise errors.InternalError from None


def _part_value(part: a2a.Part) -> Any:  # noqa: ANN401  any JSON
    match part.WhichOneof("content"):
        case "text":
            return part.text
        case "data":
            return MessageToDict(part.data)
        case _:
            raise errors.ContentTypeNotSupportedError("A part has to have text or data.")


def _uuid(text: str, name: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise errors.InvalidParamsError(f"{name} has to be a UUID, such as one of an earlier answer.") from None
