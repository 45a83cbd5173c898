"""Tasks of A2A: a run, and those that continue it by answering its questions.

The id of a task is that of its first run; its context is the thread. A run that answers a question of the task belongs
to it, even if another client started that run.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from a2a.types.a2a_pb2 import Artifact, Message, Part, Role, Task, TaskState, TaskStatus
from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Value

from project4_agent_api.core.postgres import Pool, Row, fetch_all, fetch_one
from project4_agent_api.core.visibility import visible_rows
from project4_agent_api.runs.spec import RunKey
from project4_agent_api.wires.items import Interrupt
from project4_agent_api.wires.messages import content_text

CONTEXT = "a2a_context_id"  # in a thread's metadata, if a client has chosen an id of another form
_CONTEXTS = UUID("0d0f6c1c-53f7-5a7e-8f0b-3a3f0f5f7a61")
_RESUMES = "coalesce(jsonb_typeof(kwargs #> '{command,resume}'), 'null') <> 'null'"
# `following` is the first run of the thread after the task; `part` is the task's last run.
_TASKS = f"""
    SELECT head.run_id, head.thread_id, head.owner_id, part.run_id AS last_run_id, part.updated_at,
        part.error ->> 'message' AS error,
        coalesce(threads.metadata ->> '{CONTEXT}', threads.thread_id::text) AS context_id,
        CASE part.status
            WHEN 'pending' THEN 'TASK_STATE_SUBMITTED'
            WHEN 'running' THEN 'TASK_STATE_WORKING'
            WHEN 'interrupted' THEN 'TASK_STATE_CANCELED'
            WHEN 'success' THEN CASE WHEN following.run_id IS NULL AND threads.status = 'interrupted'
                THEN 'TASK_STATE_INPUT_REQUIRED' ELSE 'TASK_STATE_COMPLETED' END
            ELSE 'TASK_STATE_FAILED'
        END AS state
    FROM runs AS head JOIN threads ON threads.thread_id = head.thread_id
    LEFT JOIN LATERAL (
        SELECT due_at, run_id FROM runs AS other
        WHERE other.thread_id = head.thread_id AND (other.due_at, other.run_id) > (head.due_at, head.run_id)
            AND NOT ({_RESUMES})
        ORDER BY due_at, run_id LIMIT 1
    ) AS following ON true
    CROSS JOIN LATERAL (
        SELECT run_id, status, error, updated_at FROM runs AS each
        WHERE each.thread_id = head.thread_id AND (each.due_at, each.run_id) >= (head.due_at, head.run_id)
            AND (following.run_id IS NULL OR (each.due_at, each.run_id) < (following.due_at, following.run_id))
        ORDER BY due_at DESC, run_id DESC LIMIT 1
    ) AS part
"""  # noqa: S608  constants of this module
_GET = f"{_TASKS} WHERE head.run_id = %(run_id)s AND head.thread_id = %(thread_id)s AND head.owner_id = %(owner_id)s"
_LIST = """
    SELECT * FROM ({tasks}
        WHERE head.assistant_id = %(assistant_id)s AND NOT ({resumes})
            AND (%(thread_id)s::uuid IS NULL OR head.thread_id = %(thread_id)s) AND {visible}
    ) AS tasks
    WHERE (%(state)s::text IS NULL OR state = %(state)s)
        AND (%(since)s::timestamptz IS NULL OR updated_at >= %(since)s)
"""
_PAGE = """
    {tasks} AND (%(before)s::uuid IS NULL OR run_id < %(before)s) ORDER BY run_id DESC LIMIT %(limit)s
"""
_COUNT = "SELECT count(*) FROM ({tasks} LIMIT 10000) AS counted"


@dataclass(frozen=True)
class StoredTask:
    """A task as it is stored. Its key is that of its first run.

    Attributes:
        updated_at: When its last run changed.
        error: The message of an error; None if there is none.
    """

    key: RunKey
    context_id: str
    last_run_id: UUID
    state: TaskState
    updated_at: datetime
    error: str | None

    @property
    def last_run(self) -> RunKey:
        """The key of its last run."""
        return replace(self.key, run_id=self.last_run_id)

    @property
    def waits(self) -> bool:
        """Whether it waits for an answer."""
        return self.state == TaskState.TASK_STATE_INPUT_REQUIRED

    @property
    def is_over(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self.state not in (
            TaskState.TASK_STATE_SUBMITTED,
            TaskState.TASK_STATE_WORKING,
            TaskState.TASK_STATE_INPUT_REQUIRED,
        )

    @classmethod
    def from_row(cls, row: Row) -> "StoredTask":
        """Read a row of the statements of this module."""
        key = RunKey(row["owner_id"], row["thread_id"], row["run_id"])
        state = TaskState.Value(row["state"])
        return cls(key, row["context_id"], row["last_run_id"], state, row["updated_at"], row["error"])


def thread_of_context(owner_id: UUID, context_id: str) -> UUID:
    """Return the thread of a context: the one with its id, or if it is no UUID, one derived from it for the owner."""
    try:
        return UUID(context_id)
    except ValueError:
        return uuid5(_CONTEXTS, f"{owner_id} {context_id}")


async def get_task(pool: Pool, key: RunKey) -> StoredTask | None:
    """Return the task that begins with a run; None if there is no such run."""
    parameters = {"run_id": key.run_id, "thread_id": key.thread_id, "owner_id": key.owner_id}
    row = await fetch_one(pool, _GET, parameters)
    return StoredTask.from_row(row) if row else None


async def list_tasks(
    pool: Pool,
    owner_id: UUID,
    assistant_id: UUID,
    *,
    thread_id: UUID | None,
    state: str | None,
    since: datetime | None,
    before: UUID | None,
    limit: int,
) -> tuple[Sequence[StoredTask], int]:
    """Return a page of an assistant's tasks, newest first, and how many there are, up to 10,000.

    Args:
        thread_id: Only of this thread.
        state: Only in this state.
        since: Only changed since then.
        before: Only older than this one.
    """
    visible, parameters = visible_rows("threads", owner_id)
    parameters |= {"assistant_id": assistant_id, "thread_id": thread_id, "state": state, "since": since}
    tasks = _LIST.format(tasks=_TASKS, resumes=_RESUMES, visible=visible)
    rows = await fetch_all(pool, _PAGE.format(tasks=tasks), parameters | {"before": before, "limit": limit})
    count = await fetch_one(pool, _COUNT.format(tasks=tasks), parameters)
    return [StoredTask.from_row(row) for row in rows], count["count"] if count else 0


def to_task(
    stored: StoredTask,
    messages: Sequence[Mapping[str, Any]],
    questions: Sequence[Interrupt],
    output: Any = None,  # noqa: ANN401  any JSON
) -> Task:
    """Convert a task.

    Args:
        messages: The messages of the turn in the state after its last run, in LangChain's form.
        questions: Questions that wait for an answer.
        output: The state of a graph that has no messages.
    """
    task_id, context_id = str(stored.key.run_id), stored.context_id
    status = TaskStatus(state=stored.state, message=_status_message(stored, questions))
    status.timestamp.FromDatetime(stored.updated_at)
    artifacts = [
        Artifact(artifact_id=message["id"], name="answer", parts=[Part(text=content_text(message["content"]))])
        for message in messages
        if message["type"] == "ai" and content_text(message["content"])
    ]
    if output is not None:
        artifacts.append(Artifact(artifact_id=str(stored.last_run_id), name="output", parts=[data_part(output)]))
    return Task(
        id=task_id,
        context_id=context_id,
        status=status,
        artifacts=artifacts,
        history=list(_history(messages, task_id, context_id)),
    )


def data_part(value: Any) -> Part:  # noqa: ANN401  any JSON
    """Return a part with JSON."""
    return Part(data=ParseDict(value, Value()), media_type="application/json")


def agent_message(stored: StoredTask, message_id: str, *parts: Part) -> Message:
    """Return a message of the agent about a task."""
    return Message(
        message_id=message_id,
        role=Role.ROLE_AGENT,
        parts=parts,
        task_id=str(stored.key.run_id),
        context_id=stored.context_id,
    )


def _status_message(stored: StoredTask, questions: Sequence[Interrupt]) -> Message | None:
    if stored.waits:
        asked = {"questions": [{"id": question.id, "value": question.value} for question in questions]}
        text = (
            "; ".join(question.value for question in questions if isinstance(question.value, str))
            or "An answer is needed."
        )
        return agent_message(stored, f"{stored.last_run_id}-question", Part(text=text), data_part(asked))
    if stored.error and stored.is_over:
        return agent_message(stored, f"{stored.last_run_id}-error", Part(text=stored.error))
    return None


def _history(messages: Sequence[Mapping[str, Any]], task_id: str, context_id: str) -> Iterator[Message]:
    roles = {"human": Role.ROLE_USER, "ai": Role.ROLE_AGENT}
    for message in messages:
        if message["type"] in roles and (text := content_text(message["content"])):
            yield Message(
                message_id=message["id"],
                role=roles[message["type"]],
                parts=[Part(text=text)],
                task_id=task_id,
                context_id=context_id,
            )
