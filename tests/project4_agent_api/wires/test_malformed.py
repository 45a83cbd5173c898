"""Requests that no client sends by accident: they are refused, and are no errors of the service."""

import httpx2
import pytest

pytestmark = pytest.mark.slow
JSON = {"Content-Type": "application/json"}
CALL = b'{"jsonrpc":"2.0","id":%b,"method":"ListTasks","params":{}}'


@pytest.mark.parametrize("body", [b"[" * 100_000, CALL % rb'"\ud800"', b"\xff", b""])
async def test_body_of_a2a_that_is_no_json_is_refused(http: httpx2.AsyncClient, body: bytes) -> None:
    answer = await http.post("/a2a/talk", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["error"]["code"]) == (200, -32700)


async def test_page_of_another_site_calls_no_agent(http: httpx2.AsyncClient) -> None:
    plain = {"Content-Type": "text/plain", "Origin": "https://attacker.example"}
    refused = await http.post("/a2a/talk", content=CALL % b"1", headers=plain)
    admitted = await http.post("/a2a/talk", content=CALL % b"1", headers=JSON)

    assert (refused.status_code, admitted.status_code) == (403, 200)
    assert "result" in admitted.json()


@pytest.mark.parametrize("name", ["a%00b", "x" * 300])
async def test_name_that_no_assistant_can_have_is_not_found(http: httpx2.AsyncClient, name: str) -> None:
    message = {"role": "user", "content": "Hi", "id": "1"}
    run = {"threadId": "a", "runId": "b", "messages": [message]}
    assert (await http.post(f"/ag-ui/{name}", json=run)).status_code == 404
    assert (await http.get(f"/v1/models/{name}")).status_code == 404
    assert (await http.get(f"/.well-known/agent-card.json?assistant_id={name}")).status_code == 404


@pytest.mark.parametrize("stored", ["text", {"mine": 1}, ["a"]])
async def test_run_with_any_metadata_input_and_context_is_read_as_a_response(
    http: httpx2.AsyncClient, stored: object
) -> None:
    thread_id = (await http.post("/threads", json={})).json()["thread_id"]
    messages = [{"role": ["user"], "content": 5}, {"role": "user", "content": [{"type": "text", "text": 5}]}]
    given = {"input": {"messages": messages}, "metadata": {"openai": stored}, "context": {"client_tools": stored}}
    body = {"assistant_id": "talk", **given}
    run = (await http.post(f"/threads/{thread_id}/runs", json=body)).json()
    await http.get(f"/threads/{thread_id}/runs/{run['run_id']}/join")

    for method, path in (("GET", ""), ("GET", "/input_items"), ("DELETE", "")):
        answer = await http.request(method, f"/v1/responses/{run['run_id']}{path}")
        assert answer.status_code == 200, answer.text
