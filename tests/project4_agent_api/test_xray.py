"""The X-ray of requests to stage 4: who sees which, and a run in two workers, seen in a browser."""

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from playwright.sync_api import Page, expect
from websockets.asyncio.client import connect

from local.control import Control
from local.processes import Child
from project4_agent_api.settings import Settings
from shared.errors import ConfigurationError
from shared.settings import load_settings
from tests.project4_agent_api.conftest import Operate, Serve
from tests.support.accounts import PASSWORD, bearer, register, sign_in
from tests.support.agent_service import AgentService, agent_service
from tests.support.launched import ROOT
from tests.support.proxy import Background
from tests.support.scripted_model import ScriptedModel, calls, in_turn, says
from tests.support.xray import Row, of_kind, rows_of


async def test_users_see_their_own_requests_and_administrators_all(serve4: Serve, operate: Operate) -> None:
    with serve4(xray_enabled=True) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
            await register(client, "ada@example.com")
            await register(client, "bob@example.com")
            operate("set-role", "bob@example.com", "admin")
            ada, bob = [bearer(await sign_in(client, f"{name}@example.com")) for name in ("ada", "bob")]
            response = await client.post("/threads", json={}, headers=bob | {"X-Request-ID": "of-bob"})
            rows = await rows_of(client, response)
            await client.post("/threads", json={}, headers=ada | {"X-Request-ID": "of-ada"})

            async def seen_by(headers: dict[str, str]) -> set[str]:
                heads = (await client.get("/xray/requests", headers=headers)).json()["requests"]
                return {head["path"] for head in heads}

            assert await seen_by(ada) == {"/threads"}
            assert {"/auth/register", "/auth/token", "/threads"} <= await seen_by(bob)
            assert (await client.get("/xray/requests/of-bob", headers=ada)).status_code == 404
            assert (await client.get("/xray/requests/of-ada", headers=bob)).status_code == 200
            assert (await client.get("/xray/requests")).status_code == 401
            action = await client.post("/xray/actions/kill_worker", json={"active": True}, headers=ada)
            assert action.status_code == 403
            everything = [
                (await client.get(f"/xray/requests/{head['request_id']}", headers=bob)).text
                for head in (await client.get("/xray/requests", headers=bob)).json()["requests"]
            ]

    assert of_kind(rows, "redis")
    assert not [secret for secret in (PASSWORD, ada["Authorization"], "ada@example.com") if secret in str(everything)]


async def test_socket_is_shown_with_its_frames_to_its_owner(serve4: Serve) -> None:
    with serve4(xray_enabled=True) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
            for name in ("ada", "bob"):
                await register(client, f"{name}@example.com")
            ada, bob = [bearer(await sign_in(client, f"{name}@example.com")) for name in ("ada", "bob")]
            thread_id = (await client.post("/threads", json={}, headers=ada)).json()["thread_id"]
            path = f"/threads/{thread_id}/stream/events"
            async with connect(f"ws{url[4:]}{path}", additional_headers=ada, proxy=None) as socket:
                subscribe = {"method": "subscription.subscribe", "params": {"channels": ["lifecycle"]}}
                await socket.send(json.dumps(subscribe | {"id": 7, "note": "s3cret"}))
                await socket.recv()

            heads = (await client.get("/xray/requests", headers=ada)).json()["requests"]
            (head,) = [head for head in heads if head["method"] == "WebSocket"]
            shown = f"/xray/requests/{head['request_id']}"
            text = (await client.get(shown, headers=ada)).text
            assert (await client.get(shown, headers=bob)).status_code == 404

    rows: list[Row] = json.loads(text)["rows"]
    assert (head["path"], head["status"]) == (path, 101)
    assert [row["name"] for row in of_kind(rows, "frame")][:2] == ["received subscription.subscribe", "success"]
    assert [row["name"] for row in of_kind(rows, "handler")] == ["open_socket"]
    assert rows[0]["url"].split(":")[-2].endswith("streams/protocol/routes.py")
    assert "s3cret" not in text
    assert path.removesuffix("stream/events") + "commands" in {head["path"] for head in heads}


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"APP_ENV": "production"}, "XRAY_ENABLED must be false in production"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector"}, "XRAY_ENABLED must be false with OTEL_EXPORTER_OTLP"),
    ],
)
def test_settings_refuse_to_show_prompts_elsewhere(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], refusal: str
) -> None:
    given = {"OPENAI_BASE_URL": "http://m", "LLM_MODEL": "m", "EMBEDDING_MODEL": "e", "JWT_SECRET": "s" * 40}
    given |= {"DATABASE_URL": "postgresql://d", "REDIS_URL": "redis://r", "XRAY_ENABLED": "true"}
    for name, value in (given | changes).items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigurationError, match=refusal):
        load_settings(Settings)


class Worker(Child):
    """Stands for the worker of a service that no launcher has started."""

    def __init__(self, service: AgentService) -> None:
        super().__init__("the worker", [], {}, _is_ready, action="kill_worker")
        self._service = service

    def kill(self) -> None:
        self._service.workers.pop().kill()


async def _is_ready() -> bool:
    return True


@pytest.fixture
def service(database_url: str, redis_url: str, model: ScriptedModel) -> Iterator[AgentService]:
    """Stage 4 in processes of its own, and the control that kills its worker."""
    background, control = Background(), Control()
    with agent_service(
        database_url,
        redis_url,
        model,
        lease_seconds="2",
        auth_required="false",
        xray_enabled="true",
        xray_control=str(control.socket),
    ) as service:
        serving = control.serving([Worker(service)])
        background.run(serving.__aenter__())
        yield service
        background.run(serving.__aexit__(None, None, None))
    background.close()


@pytest.mark.slow
def test_page_shows_a_run_that_another_worker_resumes(service: AgentService, page: Page, model: ScriptedModel) -> None:
    released = threading.Event()
    model.does(in_turn(calls(("calculator", '{"expression": "6*7"}')), says("It is 42.", last_word_after=released)))
    question = {"messages": [{"role": "user", "content": "6 times 7?"}]}
    body = {"assistant_id": "agent", "input": question, "stream_mode": "messages-tuple"}
    page.goto(service.url)
    page.get_by_text("Look inside").click()

    with ThreadPoolExecutor() as thread, httpx2.Client(base_url=service.url, timeout=120, trust_env=False) as http:
        running = thread.submit(http.post, "/runs/stream", json=body, headers={"X-Request-ID": "the-run"})
        page.get_by_role("button", name="POST /runs/stream").click()
        expect(page.locator('.xray-rows > [data-kind="tool"]')).to_have_count(1)
        expect(page.locator('.xray-rows > [data-kind="model"][data-status="open"]')).to_have_count(1)  # the second
        expect(page.get_by_role("button", name="Freeze the database")).to_have_count(0)  # not the launcher's own
        page.get_by_role("button", name="Kill the worker").click()
        expect(page.locator('.xray-rows > [data-kind="control"]')).to_have_count(1)
        service.start_worker()
        workers = page.locator('.xray-rows > [data-kind="worker"]')
        expect(workers).to_have_count(2)
        expect(workers.first).to_have_attribute("data-status", "lost")
        released.set()
        assert running.result(120).status_code == 200
        expect(workers.last).to_have_attribute("data-status", "ok")

    kinds = set(page.eval_on_selector_all(".xray-rows > li", "rows => rows.map(row => row.dataset.kind)"))
    assert kinds >= {
        *("request", "middleware", "dependency", "handler", "frame", "pool", "sql", "redis", "queue", "wait", "worker"),
        *("node", "model", "tool", "control"),
    }
    workers.last.locator("summary").click()
    source = f"vscode://file{ROOT}/project4_agent_api/runs/execution.py:"
    expect(workers.last.locator(".xray-source")).to_have_attribute("href", re.compile(re.escape(source)))
    expect(workers.last.locator(".only-en > .xray-question")).to_contain_text("5.5")
    page.get_by_role("button", name="中文").click()
    expect(page.get_by_role("button", name="杀死 worker")).to_be_visible()
