"""Generated conversations: each thread stays usable, and nothing runs without an approval.

The model is as strict as the strictest endpoint, the thread is LangGraph's own, and approvals are in the database.
"""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import hypothesis
import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, ToolCall
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command

from project4_agent_api.core.postgres import Connection
from project4_agent_api.graphs.registry import Graphs
from shared.errors import ServiceError
from tests.project4_agent_api.agents.conftest import Conversation, Given, MakeServices, asked, last
from tests.support import stored_runs
from tests.support.databases import Databases
from tests.support.scripted_model import Behaviour, ScriptedModel, says, sends
from tests.support.scripted_model.profiles import STRICTEST

CALL_IDS = st.sampled_from(["c:0", "c:1", "", None])
CODES = st.sampled_from(["1", "2"])


@dataclass(frozen=True)
class Call:
    """A tool call of the model or of a client."""

    id: str | None
    name: str
    code: str

    @property
    def arguments(self) -> dict[str, str]:
        return {"code": self.code} if self.name == "open_vault" else {"expression": self.code}


@dataclass(frozen=True)
class Step:
    """An event of a conversation.

    Attributes:
        kind: See `Player.play`.
        calls: Tool calls of the model, or of the client's command.
        decisions: The person's decisions on the actions, in order.
        place: Number of a checkpoint, counted from the newest.
    """

    kind: str
    calls: list[Call]
    decisions: list[str]
    place: int


CALLS = st.lists(
    st.builds(Call, CALL_IDS, st.sampled_from(["open_vault", "open_vault", "calculator"]), CODES),
    min_size=1,
    max_size=3,
)
STEPS = st.builds(
    Step,
    st.sampled_from(["say", "say", "decide", "decide", "cancel", "kill", "fork", "rerun", "goto", "write"]),
    CALLS,
    st.lists(st.sampled_from(["approve", "approve", "edit", "reject", "respond"]), min_size=1, max_size=3),
    st.integers(0, 6),
)


@dataclass
class Vault:
    """The calls of a tool that needs approval, on one thread.

    Attributes:
        approved: How often a person has approved of each code.
        opened: How often the tool was executed with each code.
        holds: Whether the next execution does not end.
    """

    approved: Counter[str] = field(default_factory=Counter)
    opened: Counter[str] = field(default_factory=Counter)
    holds: bool = False
    reached: asyncio.Event = field(default_factory=asyncio.Event)


VAULTS: dict[str, Vault] = {}  # by thread, because calls that a run has left behind go on beside the next conversation


@tool
async def open_vault(code: str, config: RunnableConfig) -> str:
    """Open the vault."""
    vault = VAULTS[config["configurable"]["thread_id"]]
    vault.opened[code] += 1
    assert vault.opened[code] <= vault.approved[code], f"{code} was opened without an approval of its own"
    vault.reached.set()
    if vault.holds:
        await asyncio.Event().wait()
    return f"opened with {code}"


class Player:
    """Plays the steps of a conversation."""

    def __init__(self, conversation: Conversation, model: ScriptedModel) -> None:
        self._conversation = conversation
        self._model = model
        self._vault = VAULTS[conversation.thread_id] = Vault()

    async def play(self, step: Step) -> None:
        """Play a step.

        say     a message, which the model answers with calls
        decide  answers to the questions; another message if there are none
        cancel  the same, but the run is cancelled while the vault is being opened
        kill    the same, and another attempt continues the run
        fork    a message at an earlier checkpoint
        rerun   an earlier checkpoint again, without an input
        goto    a client's calls, sent to the tools by a command
        write   a client's calls, written into the state, which then goes on
        """
        self._model.then(_calling(step.calls), says("Done."))
        conversation = self._conversation
        match step.kind:
            case "say":
                await self._run(asked("Do something."))
            case "decide":
                await self._decide(step)
            case "cancel" | "kill":
                self._vault.holds = True
                self._vault.reached.clear()
                run = asyncio.create_task(self._decide(step))
                reached = asyncio.create_task(self._vault.reached.wait())
                await asyncio.wait([run, reached], return_when=asyncio.FIRST_COMPLETED)
                run.cancel()
                reached.cancel()
                await asyncio.gather(run, reached, return_exceptions=True)
                self._vault.holds = False
                if step.kind == "kill":
                    await self._run(None)
            case "fork" | "rerun":
                checkpoints = await conversation.checkpoints()
                if checkpoints:
                    checkpoint = checkpoints[step.place % len(checkpoints)]
                    await self._run(asked("Do it again.") if step.kind == "fork" else None, checkpoint)
            case "goto":
                await self._run(Command(update={"messages": [_message(step.calls)]}, goto="tools"))
            case "write":
                await conversation.update({"messages": [_message(step.calls)]}, as_node="model")
                await self._run(None)

    async def _run(self, given: Given, *checkpoint: RunnableConfig) -> None:
        with contextlib.suppress(ServiceError):
            await self._conversation.run(given, *checkpoint)

    async def _decide(self, step: Step) -> None:
        interrupts = await self._conversation.interrupts()
        if not interrupts:
            await self._run(asked("Do something."))
            return
        decisions = iter(step.decisions * 100)
        answers = {
            interrupt.id: {"decisions": [self._decision(next(decisions), action) for action in actions]}
            for interrupt in interrupts
            if (actions := interrupt.value["action_requests"])
        }
        await self._run(Command(resume=answers))

    def _decision(self, kind: str, action: dict[str, Any]) -> dict[str, Any]:
        if kind == "approve":
            self._vault.approved[action["args"]["code"]] += 1
        if kind == "edit":
            self._vault.approved["9"] += 1
            return {"type": "edit", "edited_action": {"name": "open_vault", "args": {"code": "9"}}}
        return {"type": kind, **({"message": "No."} if kind in ("reject", "respond") else {})}


def _calling(calls: list[Call]) -> Behaviour:
    tool_calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": json.dumps(call.arguments)}}
        for call in calls
    ]
    message = {"role": "assistant", "content": None, "tool_calls": tool_calls}
    return sends(json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}).encode())


def _message(calls: list[Call]) -> AIMessage:
    return AIMessage(
        "", tool_calls=[ToolCall(type="tool_call", id=call.id, name=call.name, args=call.arguments) for call in calls]
    )


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    with databases.migrated("project4_agent_api") as url:
        yield url


@pytest.mark.parametrize("number", range(5))  # a hundred each
def test_conversations_go_on_and_nothing_runs_unapproved(
    number: int, make_services: MakeServices, database_url: str, model: ScriptedModel
) -> None:
    async def play(steps: list[Step], graphs: Graphs, connection: Connection) -> None:
        conversation = Conversation(graphs, store=InMemoryStore())
        await stored_runs.store(connection, "success", thread_id=UUID(conversation.thread_id))
        player = Player(conversation, model)
        for step in steps:
            await player.play(step)
            assert model.violations == []
        model.reset()
        model.profile = STRICTEST
        model.says("Very well.")
        assert last(await conversation.say("And now?")) == "Very well."
        assert model.violations == []
        vault = VAULTS[conversation.thread_id]
        assert vault.opened <= vault.approved

    with asyncio.Runner() as runner, contextlib.ExitStack() as stack:
        changes = {"agent_approval_tools": "open_vault", "database_url": database_url, "mcp_tools": (open_vault,)}
        opened = make_services(**changes)
        services = runner.run(opened.__aenter__())
        stack.callback(lambda: runner.run(opened.__aexit__(None, None, None)))
        graphs = runner.run(Graphs.load(None, services))
        connection = runner.run(stored_runs.connect(database_url))
        stack.callback(lambda: runner.run(connection.close()))

        @seed(number)
        @settings(max_examples=100, database=None, deadline=None, suppress_health_check=list(HealthCheck))
        @hypothesis.given(st.lists(STEPS, min_size=2, max_size=5))
        def check(steps: list[Step]) -> None:
            runner.run(play(steps, graphs, connection))

        check()
