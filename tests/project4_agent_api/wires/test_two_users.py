"""MCP and A2A: to each of two users, what the other has does not exist."""

import uuid
from typing import Any

import httpx2
import pytest

from tests.support.agent_service import AgentService

pytestmark = pytest.mark.slow
ACCEPT = {"Accept": "application/json, text/event-stream"}
JSON = {"Content-Type": "application/json"}


class Caller:
    """A user who calls methods of both protocols."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http

    async def mcp(self, method: str, session_id: str | None = None, **params: Any) -> dict[str, Any]:
        headers = ACCEPT | ({"Mcp-Session-Id": session_id} if session_id else {})
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = await self.http.post("/mcp", json=body, headers=headers)
        assert answer.status_code == 200, answer.text
        if answer.headers["content-type"].startswith("text/event-stream"):
            data = [line for line in answer.text.splitlines() if line.startswith("data: ")]
            answer = httpx2.Response(200, text=data[-1].removeprefix("data: "))
        result: dict[str, Any] = answer.json()
        return result

    async def call_tool(self, name: str, **arguments: Any) -> dict[str, Any]:
        return await self.mcp("tools/call", name=name, arguments=arguments)

    async def a2a(self, assistant: str, method: str, **params: Any) -> dict[str, Any]:
        body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer = await self.http.post(f"/a2a/{assistant}", json=body)
        assert answer.status_code == 200, answer.text
        result: dict[str, Any] = answer.json()
        return result


def message(text: str, **more: str) -> dict[str, Any]:
    return {"messageId": "1", "role": "ROLE_USER", "parts": [{"text": text}], **more}


async def test_the_other_users_things_do_not_exist(service: AgentService, headers: dict[str, str]) -> None:
    async with (
        httpx2.AsyncClient(base_url=service.url, headers=headers, timeout=120, trust_env=False) as ada_http,
        httpx2.AsyncClient(base_url=service.url, headers=service.sign_up(), timeout=120, trust_env=False) as bob_http,
    ):
        ada, bob = Caller(ada_http), Caller(bob_http)
        created = await ada_http.post("/assistants", json={"graph_id": "ask", "name": "Ada's"})
        assistant = created.json()["assistant_id"]
        file = {"file": ("secret.txt", b"Ada's secret is a pear.", "text/plain")}
        document = (await ada_http.post("/documents", files=file)).json()["id"]
        tools = (await ada.mcp("tools/list"))["result"]["tools"]
        (tool,) = [each["name"] for each in tools if assistant in str(each.get("_meta"))]
        task = (await ada.a2a(assistant, "SendMessage", message=message("secret")))["result"]["task"]
        thread = task["contextId"]

        assert tool not in str(await bob.mcp("tools/list"))
        assert (await bob.call_tool(tool, message="hello"))["error"]["code"] == -32602
        assert (await bob.call_tool("talk", message="hello", thread_id=thread))["result"]["isError"]
        assert (await bob.call_tool("search_documents", query="pear"))["result"]["structuredContent"] == {"hits": []}
        assert (await bob.mcp("resources/list"))["result"]["resources"] == []
        assert (await bob.mcp("resources/read", uri=f"documents://{document}"))["error"]["code"] == -32002
        prompt: dict[str, Any] = {"name": "summarize_document", "arguments": {"document": "secret.txt"}}
        assert (await bob.mcp("prompts/get", **prompt))["error"]["code"] == -32602
        typed: dict[str, Any] = {
            "ref": {"type": "ref/prompt", "name": "summarize_document"},
            "argument": {"name": "document", "value": "s"},
        }
        assert (await bob.mcp("completion/complete", **typed))["result"]["completion"]["values"] == []
        assert (await bob_http.get(f"/a2a/{assistant}/.well-known/agent-card.json")).status_code == 404
        assert (await bob.a2a(assistant, "SendMessage", message=message("hello")))["error"]["code"] == -32602
        for method in ("GetTask", "CancelTask", "SubscribeToTask"):
            for name in (assistant, "talk"):
                assert (await bob.a2a(name, method, id=task["id"]))["error"]["code"] == -32001, method
        answering = message("pear", taskId=task["id"])
        assert (await bob.a2a("talk", "SendMessage", message=answering))["error"]["code"] == -32001
        own = await bob.a2a("talk", "SendMessage", message=message("hello", contextId=thread))
        assert own["error"]["code"] == -32602
        for name in ("talk", "ask"):
            listed = await bob.a2a(name, "ListTasks", contextId=thread)
            assert not listed["result"].get("tasks")
        assert (await ada.a2a(assistant, "GetTask", id=task["id"]))["result"]["status"] == task["status"]


async def test_bad_input_has_the_protocols_error(service: AgentService, headers: dict[str, str]) -> None:
    async with httpx2.AsyncClient(base_url=service.url, headers=headers, timeout=120, trust_env=False) as http:
        user = Caller(http)
        for body in (b"{", b"\xff", b"[]", b"{}", b'{"jsonrpc": "2.0", "id": 1}', b"[" * 100):
            answer = await http.post("/mcp", content=body, headers=ACCEPT | JSON)
            assert answer.status_code == 400, body
        cases: list[tuple[str, dict[str, Any], int]] = [
            ("nothing", {}, -32601),
            ("tools/list", {"cursor": "x"}, -32602),
            ("tools/list", {"cursor": 1}, -32602),
            ("tools/call", {}, -32602),
            ("tools/call", {"name": "talk", "arguments": []}, -32602),
            ("resources/list", {"cursor": "../"}, -32602),
            ("resources/read", {"uri": "file:///etc/passwd"}, -32002),
            ("resources/read", {"uri": f"documents://{uuid.uuid4()}/after/{uuid.uuid4()}"}, -32002),
            ("resources/read", {}, -32602),
        ]
        for method, params, code in cases:
            assert (await user.mcp(method, **params))["error"]["code"] == code, (method, params)
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        foreign = await http.post("/mcp", json=ping, headers=ACCEPT | {"Mcp-Session-Id": "x"})
        page = await http.post("/mcp", json=ping, headers=ACCEPT | {"Origin": "https://evil.example"})
        assert (foreign.status_code, page.status_code) == (404, 403)
        assert (await http.get("/mcp")).status_code == 405


async def test_unauthenticated_client_learns_how_to_sign_in(service: AgentService, headers: dict[str, str]) -> None:
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    async with httpx2.AsyncClient(base_url=service.url, timeout=120, trust_env=False) as http:
        refused = await http.post("/mcp", json=ping, headers=ACCEPT)
        metadata = f"{service.url}/.well-known/oauth-protected-resource/mcp"
        assert refused.status_code == 401
        scopes = 'scope="assistants documents"'
        assert refused.headers["www-authenticate"] == f'Bearer resource_metadata="{metadata}", {scopes}'
        assert (await http.get(metadata)).json()["resource"] == f"{service.url}/mcp"
        assert (await http.post("/a2a/talk", json=ping)).status_code == 401

        key = (await http.post("/auth/api-keys", json={"name": "mcp"}, headers=headers)).json()["key"]
        bearer = {"Authorization": f"Bearer {key}"}
        assert (await http.post("/mcp", json=ping, headers=ACCEPT | bearer)).json()["result"] == {}
