"""A2A with the official client, and with requests of version 0.3."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
import pytest
from a2a.client import Client, ClientConfig, create_client
from a2a.types import a2a_pb2 as a2a
from a2a.utils.errors import InvalidParamsError, TaskNotCancelableError
from langgraph_sdk import get_client

from tests.support.agent_service import AgentService
from tests.support.scripted_model import ScriptedModel, calls, hangs, says

pytestmark = pytest.mark.slow


@asynccontextmanager
async def agent(service: AgentService, headers: dict[str, str], name: str, **options: Any) -> AsyncIterator[Client]:
    """Open the official client of an assistant."""
    async with httpx.AsyncClient(headers=headers, timeout=120, trust_env=False) as http:
        config = ClientConfig(httpx_client=http, **options)
        yield await create_client(f"{service.url}/a2a/{name}", config)


def says_to(text: str, **more: str) -> a2a.SendMessageRequest:
    message = a2a.Message(message_id=uuid.uuid4().hex, role=a2a.Role.ROLE_USER, parts=[a2a.Part(text=text)], **more)
    return a2a.SendMessageRequest(message=message)


async def send(client: Client, request: a2a.SendMessageRequest) -> a2a.Task:
    """Send a message, and return the task at its end."""
    task = a2a.Task()
    async for response in client.send_message(request):
        task = response.task
    return task


async def test_message_becomes_a_task_in_a_context(service: AgentService, headers: dict[str, str]) -> None:
    async with agent(service, headers, "talk", streaming=False) as client:
        first = await send(client, says_to("hello"))
        second = await send(client, says_to("again", context_id=first.context_id))
        found = await client.get_task(a2a.GetTaskRequest(id=first.id))
        listed = await client.list_tasks(a2a.ListTasksRequest(context_id=first.context_id, include_artifacts=True))

    assert first.status.state == a2a.TaskState.TASK_STATE_COMPLETED
    assert first.artifacts[0].parts[0].text == "1: hello"
    assert second.artifacts[0].parts[0].text == "3: again"
    assert found.artifacts[0].parts[0].text == "1: hello"
    assert [message.parts[0].text for message in found.history] == ["hello", "1: hello"]
    assert [task.id for task in listed.tasks] == [second.id, first.id]


async def test_answer_is_streamed(service: AgentService, headers: dict[str, str], model: ScriptedModel) -> None:
    model.says("It is late.")
    async with agent(service, headers, "agent") as client:
        events = [event async for event in client.send_message(says_to("What time is it?"))]
    texts = [event.artifact_update for event in events if event.HasField("artifact_update")]

    assert events[0].HasField("task")
    assert "".join(each.artifact.parts[0].text for each in texts) == "It is late."
    assert [each.append for each in texts] == [False, *[True] * (len(texts) - 1)]
    assert events[-1].status_update.status.state == a2a.TaskState.TASK_STATE_COMPLETED


async def test_question_is_answered_in_its_task(
    service: AgentService, headers: dict[str, str], model: ScriptedModel
) -> None:
    model.then(calls(("calculator", '{"expression": "6*7"}')), says("It is 42."))
    async with agent(service, headers, "agent", streaming=False) as client:
        asked = await send(client, says_to("How much?"))
        with pytest.raises(InvalidParamsError):
            await send(client, says_to("perhaps", task_id=asked.id))
        answered = await send(client, says_to("approve", task_id=asked.id))

    assert asked.status.state == a2a.TaskState.TASK_STATE_INPUT_REQUIRED
    assert "calculator" in str(asked.status.message)
    assert answered.id == asked.id
    assert answered.status.state == a2a.TaskState.TASK_STATE_COMPLETED
    assert answered.artifacts[-1].parts[0].text == "It is 42."


async def test_question_is_answered_on_another_wire(service: AgentService, headers: dict[str, str]) -> None:
    async with agent(service, headers, "ask", streaming=False) as client:
        asked = await send(client, says_to("How many?"))
        async with get_client(url=service.url, api_key=None, headers=headers) as langgraph:
            await langgraph.runs.wait(asked.context_id, "ask", command={"resume": "3"})
        task = await client.get_task(a2a.GetTaskRequest(id=asked.id))

    assert task.status.state == a2a.TaskState.TASK_STATE_COMPLETED
    assert task.artifacts[-1].parts[0].text == "You said 3."


async def test_task_is_watched_and_cancelled(
    service: AgentService, headers: dict[str, str], model: ScriptedModel
) -> None:
    model.then(hangs())
    request = says_to("Hello")
    request.configuration.return_immediately = True
    async with agent(service, headers, "agent", streaming=False) as client:
        task = await send(client, request)
    states: list[int] = []
    cancelled = a2a.Task()
    async with agent(service, headers, "agent") as client:
        async for event in client.subscribe(a2a.SubscribeToTaskRequest(id=task.id)):
            if event.HasField("status_update"):
                states.append(event.status_update.status.state)
                if len(states) == 1:
                    cancelled = await client.cancel_task(a2a.CancelTaskRequest(id=task.id))
        with pytest.raises(TaskNotCancelableError):
            await client.cancel_task(a2a.CancelTaskRequest(id=task.id))

    assert cancelled.status.state == a2a.TaskState.TASK_STATE_CANCELED
    assert states == [a2a.TaskState.TASK_STATE_WORKING, a2a.TaskState.TASK_STATE_CANCELED]


async def test_graph_without_messages_takes_data(service: AgentService, headers: dict[str, str]) -> None:
    request = says_to("")
    request.message.parts[0].data.struct_value.update({"article": "pen", "pieces": 4})
    async with agent(service, headers, "form", streaming=False) as client:
        task = await send(client, request)

    assert task.artifacts[0].parts[0].data.struct_value["total"] == 12


async def test_version_0_3_and_bad_input(service: AgentService, headers: dict[str, str]) -> None:
    message = {"kind": "message", "messageId": "m", "role": "user", "parts": [{"kind": "text", "text": "hello"}]}

    async with httpx2.AsyncClient(base_url=service.url, headers=headers, timeout=120, trust_env=False) as http:

        async def call(method: str, params: object) -> dict[str, Any]:
            body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            answer = await http.post("/a2a/talk", json=body)
            assert answer.status_code == 200
            result: dict[str, Any] = answer.json()
            return result

        task = (await call("message/send", {"message": {**message, "contextId": "my own"}}))["result"]
        again = (await call("message/send", {"message": {**message, "contextId": "my own"}}))["result"]
        assert (task["contextId"], again["contextId"]) == ("my own", "my own")
        assert again["artifacts"][0]["parts"][0]["text"] == "3: hello"
        assert task["status"]["state"] == "completed"
        assert (await call("tasks/get", {"id": task["id"]}))["result"]["artifacts"] == task["artifacts"]
        for method, params, code in [
            ("tasks/get", {"id": str(uuid.uuid4())}, -32001),
            ("tasks/get", {"id": "x"}, -32001),
            ("tasks/cancel", {"id": task["id"]}, -32002),
            ("message/send", {"message": {**message, "contextId": "a\nb"}}, -32602),
            ("message/send", {"message": {**message, "taskId": task["id"]}}, -32004),
            ("tasks/pushNotificationConfig/get", {"id": task["id"]}, -32003),
            ("nothing", {}, -32601),
        ]:
            assert (await call(method, params))["error"]["code"] == code, method
        for body in (b"{", b"\xff", b"[]", b'"x"', b"{}"):
            answer = await http.post("/a2a/talk", content=body, headers={"Content-Type": "application/json"})
            assert answer.status_code == 200
            assert answer.json()["error"]["code"] in {-32700, -32600}
        assert (await http.post("/a2a/nobody", json={"jsonrpc": "2.0", "id": 1, "method": "x"})).status_code == 200


async def test_card_of_a_built_in_agent_is_public(service: AgentService, headers: dict[str, str]) -> None:
    async with httpx2.AsyncClient(base_url=service.url, timeout=120, trust_env=False) as http:
        created = await http.post("/assistants", json={"graph_id": "talk", "name": "mine"}, headers=headers)
        own = f"/a2a/{created.json()['assistant_id']}/.well-known/agent-card.json"
        card = (await http.get("/.well-known/agent-card.json", params={"assistant_id": "talk"})).json()

        assert card["supportedInterfaces"][0]["protocolVersion"] == "1.0"
        assert card["url"] == card["supportedInterfaces"][0]["url"]
        assert (await http.get("/.well-known/agent-card.json")).status_code == 200
        assert (await http.get(own)).status_code == 401
        assert (await http.get(own, headers=headers)).json()["name"] == "mine"
        assert (await http.get(own, headers=service.sign_up())).status_code == 404
