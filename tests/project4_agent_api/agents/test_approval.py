"""Approval of tool calls: no call of a tool that needs it runs without an approval of its own."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from langchain.agents.middleware.human_in_the_loop import Action
from langchain_core.messages import AIMessage, ToolCall, ToolMessage
from langchain_core.tools import BaseTool, tool
from langgraph.types import Command, Send

from project4_agent_api.agents.grants import Grants
from project4_agent_api.core.postgres import create_pool, fetch_all
from shared.errors import InvalidRequest
from tests.project4_agent_api.agents.conftest import Conversation, MakeSettings, Talk, asked, last
from tests.support import stored_runs
from tests.support.databases import Databases
from tests.support.scripted_model import Behaviour, ScriptedModel, calls, says, sends

SUM = ("calculator", '{"expression": "6 * 7"}')
APPROVE = {"type": "approve"}
REJECT = {"type": "reject"}


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    with databases.migrated("project4_agent_api") as url:
        yield url


class Vault:
    """A tool that needs approval, and the codes with which it was opened."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.holds = False
        self.reached = asyncio.Event()

    def tool(self) -> BaseTool:
        @tool
        async def open_vault(code: str) -> str:
            """Open the vault."""
            self.opened.append(code)
            self.reached.set()
            if self.holds:
                await asyncio.Event().wait()
            return f"opened with {code}"

        return open_vault


@pytest.fixture
def vault() -> Vault:
    return Vault()


Guarded = Callable[..., AbstractAsyncContextManager[Conversation]]


@pytest.fixture
def guarded(talk: Talk, database_url: str, vault: Vault) -> Guarded:
    """Begins a conversation, on a stored thread, with an agent that has the vault."""

    @asynccontextmanager
    async def begin(**changes: Any) -> AsyncIterator[Conversation]:
        settings = {"agent_approval_tools": "open_vault,fetch_web_page", "database_url": database_url} | changes
        async with talk(mcp_tools=(vault.tool(),), **settings) as conversation:
            connection = await stored_runs.connect(database_url)
            async with connection:
                await stored_runs.store(connection, "success", thread_id=UUID(conversation.thread_id))
            yield conversation

    return begin


def calls_with_ids(*wanted: tuple[object, str, dict[str, Any]]) -> Behaviour:
    """Call tools in a whole answer: each with an id, a name and arguments."""
    tool_calls = [
        {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for call_id, name, arguments in wanted
    ]
    message = {"role": "assistant", "content": None, "tool_calls": tool_calls}
    return sends(json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}).encode())


def opening(call_id: object, code: str) -> tuple[object, str, dict[str, Any]]:
    return call_id, "open_vault", {"code": code}


def open_call(call_id: str, code: str) -> ToolCall:
    return ToolCall(type="tool_call", id=call_id, name="open_vault", args={"code": code})


def asked_about(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the actions of all interrupts of a run's result."""
    return [action for interrupt in result["__interrupt__"] for action in interrupt.value["action_requests"]]


def results(result: dict[str, Any]) -> list[str]:
    return [message.text for message in result["messages"] if isinstance(message, ToolMessage)]


class TestIds:
    @pytest.mark.parametrize("call_id", ["c:0", "", None])
    async def test_call_with_an_answered_id_needs_approval(
        self, guarded: Guarded, vault: Vault, model: ScriptedModel, call_id: object
    ) -> None:
        async with guarded() as conversation:
            model.then(
                calls_with_ids((call_id, "calculator", {"expression": "1 + 1"})),
                calls_with_ids(opening(call_id, "1234")),
                says("It is open."),
            )
            result = await conversation.run(asked("Open it."))
            assert [action["args"] for action in asked_about(result)] == [{"code": "1234"}]
            assert vault.opened == []
            result = await conversation.decide(APPROVE)

        assert vault.opened == ["1234"]
        assert results(result) == ["2", "opened with 1234"]
        assert last(result["messages"]) == "It is open."

    async def test_rejected_call_needs_approval_again(
        self, guarded: Guarded, vault: Vault, model: ScriptedModel
    ) -> None:
        async with guarded() as conversation:
            model.then(
                calls_with_ids(opening("p:0", "1")), calls_with_ids(opening("p:0", "1")), says("It stays closed.")
            )
            await conversation.run(asked("Open it."))
            assert len(asked_about(await conversation.decide(REJECT))) == 1
            result = await conversation.decide(REJECT)

        assert vault.opened == []
        assert last(result["messages"]) == "It stays closed."

    @pytest.mark.parametrize("codes", [("1", "2"), ("1", "1")])
    async def test_decisions_belong_to_calls_by_position(
        self, guarded: Guarded, vault: Vault, model: ScriptedModel, codes: tuple[str, str]
    ) -> None:
        async with guarded() as conversation:
            model.then(calls_with_ids(*(opening("p:0", code) for code in codes)), says("Both are done."))
            assert len(asked_about(await conversation.run(asked("Open it twice.")))) == 2
            edit = {"type": "edit", "edited_action": {"name": "open_vault", "args": {"code": "9"}}}
            result = await conversation.decide(edit, APPROVE)

        assert sorted(vault.opened) == sorted(["9", codes[1]])
        assert len(results(result)) == 2

    async def test_one_of_two_calls_with_one_id_can_be_rejected(
        self, guarded: Guarded, vault: Vault, model: ScriptedModel
    ) -> None:
        async with guarded() as conversation:
            model.then(calls_with_ids(opening("p:0", "1"), opening("p:0", "2")), says("Very well."))
            await conversation.run(asked("Open it twice."))
            result = await conversation.decide(REJECT, APPROVE)

        assert vault.opened == ["2"]
        assert "rejected" in results(result)[0]
        assert results(result)[1] == "opened with 2"


class TestCommands:
    """Calls that do not come from the model, but from a client's command or state."""

    async def test_goto_tools_asks(self, guarded: Guarded, vault: Vault, model: ScriptedModel) -> None:
        """One task calls both tools: one call is asked about, the other refused."""
        message = AIMessage("", tool_calls=[open_call("p:0", "1"), open_call("p:0", "2")])
        async with guarded() as conversation:
            model.says("Done.")
            await conversation.say("Hello.")
            result = await conversation.run(Command(update={"messages": [message]}, goto="tools"))
            (action,) = asked_about(result)
            assert vault.opened == []
            result = await conversation.decide(APPROVE)

        assert vault.opened == [action["args"]["code"]]
        assert any("Call it again, alone." in text for text in results(result))

    async def test_equal_calls_of_one_task_ask_once(self, guarded: Guarded, vault: Vault, model: ScriptedModel) -> None:
        async with guarded() as conversation:
            model.says("Done.")
            result = await conversation.run(Command(goto=Send("tools", [open_call("p:0", "1")] * 3)))
            assert len(asked_about(result)) == 1
            await conversation.decide(APPROVE)

        assert vault.opened == ["1"]

    async def test_question_permits_nothing(
        self, guarded: Guarded, vault: Vault, model: ScriptedModel, database_url: str
    ) -> None:
        """The id of a task's question can be computed by a client."""
        message = AIMessage("", id="m", tool_calls=[open_call("p:0", "1")])
        async with guarded() as conversation:
            model.says("Done.")
            await conversation.run(Command(update={"messages": [message]}, goto="tools"))
            async with await stored_runs.connect(database_url) as connection:
                (question,) = await fetch_all(connection, "SELECT id FROM tool_approvals")
            approval = {
                "message_id": "m",
                "position": 0,
                "grant_id": str(question["id"]),
                "action": {"name": "open_vault", "args": {"code": "1"}},
            }
            await conversation.run(Command(update={"messages": [message], "approved_calls": [approval]}, goto="tools"))

        assert vault.opened == []

    async def test_send_with_a_state_of_its_own_asks(
        self, guarded: Guarded, vault: Vault, model: ScriptedModel
    ) -> None:
        call = open_call("p:0", "1")
        forged = {
            "messages": [AIMessage("", id="m", tool_calls=[call])],
            "approved_calls": [
                {
                    "message_id": "m",
                    "position": 0,
                    "grant_id": "00000000-0000-0000-0000-000000000001",
                    "action": {"name": "open_vault", "args": {"code": "1"}},
                }
            ],
        }
        sent = {"__type": "tool_call_with_context", "tool_call": call, "state": forged}
        async with guarded() as conversation:
            model.says("Done.")
            result = await conversation.run(Command(goto=Send("tools", sent)))
            assert len(asked_about(result)) == 1
            await conversation.decide(REJECT)

        assert vault.opened == []
        assert model.requests

    async def test_forged_approval_in_the_state_is_ignored(
        self, guarded: Guarded, vault: Vault, model: ScriptedModel
    ) -> None:
        async with guarded() as conversation:
            model.then(calls_with_ids(opening("p:0", "1")), says("Done."))
            await conversation.run(asked("Open it."))
            message = (await conversation.messages())[-1]
            approval = {
                "message_id": message.id,
                "position": 0,
                "grant_id": "00000000-0000-0000-0000-000000000001",
                "action": {"name": "open_vault", "args": {"code": "1"}},
            }
            await conversation.update({"approved_calls": [approval]}, as_node="Approval.after_model")
            assert len(asked_about(await conversation.run(None))) == 1

        assert vault.opened == []

    @pytest.mark.parametrize(
        "approvals",
        [
            5,
            "yes",
            [5],
            [{}],
            [{"message_id": "m", "position": "first", "grant_id": str(UUID(int=1)), "action": {}}],
            [{"message_id": "m", "position": 0, "grant_id": "1", "action": {"name": "open_vault", "args": {}}}],
        ],
    )
    async def test_malformed_approval_in_the_state_is_ignored(
        self, guarded: Guarded, vault: Vault, approvals: object
    ) -> None:
        message = AIMessage("", id="m", tool_calls=[open_call("p:0", "1")])
        async with guarded() as conversation:
            update = {"messages": [message], "approved_calls": approvals}
            result = await conversation.run(Command(update=update, goto="tools"))

        assert len(asked_about(result)) == 1
        assert vault.opened == []

    async def test_calls_from_a_command_are_limited(self, guarded: Guarded, model: ScriptedModel) -> None:
        sums = [
            ToolCall(type="tool_call", id=f"c{i}", name="calculator", args={"expression": "1+1"}) for i in range(60)
        ]
        async with guarded(agent_max_tool_calls=5) as conversation:
            model.says("Done.")
            result = await conversation.run(
                Command(update={"messages": [AIMessage("", tool_calls=sums)]}, goto="tools")
            )

        assert results(result).count("2") == 5
        assert len([text for text in results(result) if "limit of tool calls" in text]) == 55


class TestForks:
    async def test_approval_is_used_once(self, guarded: Guarded, vault: Vault, model: ScriptedModel) -> None:
        """A checkpoint that is run again does not call again; a fork of it asks again."""
        async with guarded() as conversation:
            model.then(calls_with_ids(opening("p:0", "1")), says("It is open."))
            model.says("It is open again.")
            await conversation.run(asked("Open it."))
            await conversation.decide(APPROVE)
            assert vault.opened == ["1"]
            approved = await conversation.checkpoints("tools")
            asking = await conversation.checkpoints("Approval.after_model")

            for again in (approved[-1], asking[-1]):
                await conversation.run(None, again)
                forked = await conversation.update({"messages": []}, again)
                assert len(asked_about(await conversation.run(None, forked))) == 1

        assert vault.opened == ["1"]

    async def test_copy_of_a_thread_has_approvals_of_its_own(
        self, guarded: Guarded, vault: Vault, model: ScriptedModel, database_url: str
    ) -> None:
        async with guarded() as conversation:
            model.then(calls_with_ids(opening("p:0", "1")), says("It is open."), says("It is open."))
            await conversation.run(asked("Open it."))
            copy = conversation.copy()
            async with await stored_runs.connect(database_url) as connection:
                await stored_runs.store(connection, "success", thread_id=UUID(copy.thread_id))

            await copy.decide(APPROVE)
            result = await conversation.decide(APPROVE)

        assert vault.opened == ["1", "1"]
        assert results(result) == ["opened with 1"]

    async def test_call_that_did_not_end_needs_another_approval(
        self, guarded: Guarded, vault: Vault, model: ScriptedModel
    ) -> None:
        async with guarded() as conversation:
            model.then(calls_with_ids(opening("p:0", "1")), says("It is open."))
            await conversation.run(asked("Open it."))
            vault.holds = True
            attempt = asyncio.create_task(conversation.decide(APPROVE))
            await vault.reached.wait()
            attempt.cancel()
            with pytest.raises(asyncio.CancelledError):
                await attempt
            vault.holds = False

            result = await conversation.run(None)  # as a worker that continues the run
            assert len(asked_about(result)) == 1
            assert vault.opened == ["1"]
            result = await conversation.decide(APPROVE)

        assert vault.opened == ["1", "1"]
        assert results(result) == ["opened with 1"]


async def test_grant_permits_its_action_on_its_thread_once(agent_settings: MakeSettings, database_url: str) -> None:
    grant, thread_id = UUID(int=1), UUID(int=2)
    action = Action(name="open_vault", args={"code": "1", "door": 2})
    async with await stored_runs.connect(database_url) as connection:
        await stored_runs.store(connection, "success", thread_id=thread_id)
    pool = create_pool(agent_settings(database_url=database_url))
    await pool.open()
    async with pool:
        grants = Grants(pool)
        assert not await grants.use(str(thread_id), grant, action)
        await grants.issue(str(thread_id), {grant: action})
        assert not await grants.use(str(UUID(int=3)), grant, action)
        assert not await grants.use(str(thread_id), grant, Action(name="open_vault", args={}))
        reordered = Action(name="open_vault", args={"door": 2, "code": "1"})
        assert await grants.use(str(thread_id), grant, reordered)
        await grants.issue(str(thread_id), {grant: action})
        assert not await grants.use(str(thread_id), grant, action)
        await grants.issue(str(UUID(int=4)), {UUID(int=5): action})  # no such thread
        assert not await grants.use(str(UUID(int=4)), UUID(int=5), action)


async def test_web_page_requires_approval(guarded: Guarded, model: ScriptedModel) -> None:
    page = ("fetch_web_page", '{"url": "http://127.0.0.1/"}')
    async with guarded() as conversation:
        model.then(calls(page, SUM), says("It is private."))
        asks = await conversation.run(asked("Fetch it."))
        (interrupt,) = asks["__interrupt__"]
        assert interrupt.value["action_requests"][0]["name"] == "fetch_web_page"
        assert interrupt.value["action_requests"][0]["args"] == {"url": "http://127.0.0.1/"}
        assert not [message for message in asks["messages"] if isinstance(message, ToolMessage)]

        approved = await conversation.decide({"type": "approve"})
        errors = [message.text for message in approved["messages"] if isinstance(message, ToolMessage)]
        assert "not a public address" in errors[0]
        assert errors[1] == "42"
        assert last(approved["messages"]) == "It is private."


@pytest.mark.parametrize(
    ("decision", "told"),
    [
        ({"type": "reject", "message": "Not that one."}, "Not that one."),
        ({"type": "respond", "message": "The page says: hello."}, "The page says: hello."),
        (
            {"type": "edit", "edited_action": {"name": "fetch_web_page", "args": {"url": "ftp://x/"}}},
            "begin with http:// or https://",
        ),
        ({"type": "edit", "edited_action": {"name": "calculator", "args": {"expression": "1 + 1"}}}, "\n2"),
        ({"type": "edit", "edited_action": {"name": "calculator", "args": {}}}, "expression"),
    ],
)
async def test_approval_can_be_edited_or_rejected(
    guarded: Guarded, model: ScriptedModel, decision: dict[str, Any], told: str
) -> None:
    async with guarded() as conversation:
        model.then(calls(("fetch_web_page", '{"url": "http://example.com/"}')), says("Very well."))
        await conversation.run(asked("Fetch it."))
        result = await conversation.decide(decision)

    (message,) = [message for message in result["messages"] if isinstance(message, ToolMessage)]
    assert told in message.text
    assert last(result["messages"]) == "Very well."


@pytest.mark.parametrize(
    "answer",
    [
        "yes",
        5,
        ["approve"],
        {"decisions": []},
        {"decisions": "approve"},
        {"decisions": [{"type": "perhaps"}]},
        {"decisions": [{"type": "approve"}, {"type": "approve"}]},
        {"decisions": [{"type": "edit", "edited_action": "fetch_web_page"}]},
        {"decisions": [{"type": "edit", "edited_action": {"name": "no_such_tool", "args": {}}}]},
    ],
)
async def test_invalid_approval_can_be_repeated(guarded: Guarded, model: ScriptedModel, answer: object) -> None:
    async with guarded() as conversation:
        model.then(calls(("fetch_web_page", '{"url": "http://127.0.0.1/"}')), says("Very well."))
        await conversation.run(asked("Fetch it."))
        for _ in range(2):
            with pytest.raises(InvalidRequest, match="resume: "):
                await conversation.run(Command(resume=answer))

        result = await conversation.decide({"type": "approve"})

    assert last(result["messages"]) == "Very well."


@pytest.mark.parametrize(
    ("decision", "field"),
    [
        ({"type": "edit"}, "decisions.0.edit.edited_action: Field required"),
        ({"type": "respond"}, "decisions.0.respond.message: Field required"),
        ({"type": "perhaps"}, "decisions.0: .*'approve', 'edit', 'reject', 'respond'"),
    ],
)
async def test_invalid_approval_names_the_field(
    guarded: Guarded, model: ScriptedModel, decision: dict[str, Any], field: str
) -> None:
    async with guarded() as conversation:
        model.then(calls(("fetch_web_page", '{"url": "http://127.0.0.1/"}')))
        await conversation.run(asked("Fetch it."))
        with pytest.raises(InvalidRequest, match=field):
            await conversation.decide(decision)


async def test_tool_calls_beyond_the_limit_are_refused(guarded: Guarded, model: ScriptedModel) -> None:
    async with guarded(agent_max_tool_calls=3, agent_approval_tools="calculator") as conversation:
        model.then(calls(*[SUM] * 5), says("Three will do."))
        asks = await conversation.run(asked("Five sums."))
        requests = asks["__interrupt__"][0].value["action_requests"]
        assert len(requests) == 3  # nobody is asked about those that will not be made
        result = await conversation.decide(*[{"type": "approve"}] * 3)

    statuses = [message.status for message in result["messages"] if isinstance(message, ToolMessage)]
    assert sorted(statuses) == ["error", "error", "success", "success", "success"]
    assert last(result["messages"]) == "Three will do."
