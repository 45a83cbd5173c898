"""The chapters of stage 4: each serves its own part and the parts before it."""

import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from secrets import token_urlsafe
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from fastapi import FastAPI

from project4_agent_api.chapters import CHAPTERS
from project4_agent_api.settings import Settings
from project4_agent_api.worker import create_worker
from shared.errors import ConfigurationError
from shared.logs import configure_logging
from shared.settings import load_settings
from tests.support.accounts import bearer, register, sign_in
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel, calls, says
from tests.support.sse import events_in

NAMES = list(CHAPTERS)
WITH_CHAT = NAMES[: NAMES.index("runs")]
SUM = ("calculator", '{"expression": "6 * 7"}')
FETCH = ("fetch_web_page", '{"url": "http://127.0.0.1:9/"}')


@pytest.fixture
def make_chapter(make_settings4: Callable[..., Settings]) -> Callable[[str], FastAPI]:
    """Creates the application of a chapter, with the settings that it needs."""

    def make(name: str) -> FastAPI:
        settings_class = CHAPTERS[name].settings
        needless = {
            field for field in ("redis_url", "jwt_secret") if not settings_class.model_fields[field].is_required()
        }
        module: Any = importlib.import_module(f"project4_agent_api.chapters.{name}")
        settings = settings_class(**make_settings4().model_dump(exclude=needless))
        configure_logging(settings)  # as the program does, which looks for secrets in every setting
        app: FastAPI = module.create_app(settings)
        return app

    return make


@asynccontextmanager
async def signed_in(app: FastAPI, name: str) -> AsyncIterator[httpx2.AsyncClient]:
    """Serve a chapter, and give a client that has signed in, if there are accounts."""
    with running(app) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
            if name != "agents":
                await register(http, "ada@example.com")
                http.headers |= bearer(await sign_in(http, "ada@example.com"))
            yield http


@pytest.mark.parametrize("name", WITH_CHAT)
async def test_agent_answers_asks_and_remembers(
    name: str, make_chapter: Callable[[str], FastAPI], model: ScriptedModel
) -> None:
    async with signed_in(make_chapter(name), name) as http:
        model.then(calls(SUM), says("It is 42."))
        first = (await http.post("/chat", json={"message": "What is six times seven?"})).json()
        thread_id = first["thread_id"]
        model.then(calls(SUM), says("It is 42 again."))
        again = {"message": "And again?", "thread_id": thread_id}
        streamed = events_in((await http.post("/chat/stream", json=again)).text)
        roles = [message["role"] for message in model.requests[-1].body["messages"]]
        model.then(calls(FETCH), says("It cannot be read."))
        waiting = (await http.post("/chat", json={"message": "Fetch it.", "thread_id": thread_id})).json()
        decided = {"decisions": [{"type": "approve"}], "thread_id": thread_id}
        approved = (await http.post("/chat", json=decided)).json()
        needless = await http.post("/chat", json=decided)

    assert first["answer"] == "It is 42."
    assert [event for event, _ in streamed] == ["tool", "token", "token", "token", "token", "done"]
    assert streamed[0][1] == {"name": "calculator", "result": "42"}
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user", "assistant", "tool"]
    assert [action["name"] for action in waiting["waiting"]] == ["fetch_web_page"]
    assert (approved["answer"], approved["waiting"]) == ("It cannot be read.", [])
    assert needless.status_code == 409


@pytest.mark.parametrize("name", WITH_CHAT[1:])
async def test_conversation_belongs_to_its_account(
    name: str, make_chapter: Callable[[str], FastAPI], model: ScriptedModel
) -> None:
    async with signed_in(make_chapter(name), name) as http:
        model.says("A secret.")
        thread_id = (await http.post("/chat", json={"message": "Tell me."})).json()["thread_id"]
        await register(http, "bob@example.com")
        bob = bearer(await sign_in(http, "bob@example.com"))
        await http.post("/chat", json={"message": "What did you say?", "thread_id": thread_id}, headers=bob)
        nobody = await http.post("/chat", json={"message": "Tell me."}, headers={"Authorization": "Bearer x"})
        deleted = await http.delete("/auth/me")
        ended = await http.get("/auth/me")

    assert all("A secret." not in str(request.body) for request in model.requests[1:])
    assert nobody.status_code == 401
    assert (deleted.status_code, ended.status_code) == (204, 401)


@pytest.mark.parametrize("name", ["assistants", "threads"])
async def test_memory_is_stored(name: str, make_chapter: Callable[[str], FastAPI], model: ScriptedModel) -> None:
    async with signed_in(make_chapter(name), name) as http:
        model.then(calls(("remember", '{"fact": "I like tea."}')), says("Noted."))
        await http.post("/chat", json={"message": "Remember that I like tea."})
        found = (await http.post("/store/items/search", json={"namespace_prefix": ["memories"]})).json()["items"]
        assistants = (await http.post("/assistants/search", json={})).json()

    assert [item["value"]["text"] for item in found] == ["I like tea."]
    assert {assistant["graph_id"] for assistant in assistants} == {"agent", "rag"}


async def test_thread_survives_a_restart(make_chapter: Callable[[str], FastAPI], model: ScriptedModel) -> None:
    thread_id = str(uuid4())
    async with signed_in(make_chapter("threads"), "threads") as http:
        model.says("Hello, Ada!")
        await http.post("/chat", json={"message": "I am Ada.", "thread_id": thread_id})
        headers = dict(http.headers)

    with running(make_chapter("threads")) as url:
        async with httpx2.AsyncClient(base_url=url, headers=headers, timeout=60, trust_env=False) as http:
            state = (await http.get(f"/threads/{thread_id}/state")).json()
            model.says("Ada.")
            await http.post("/chat", json={"message": "Who am I?", "thread_id": thread_id})
            thread = (await http.get(f"/threads/{thread_id}")).json()

    assert [message["content"] for message in state["values"]["messages"]] == ["I am Ada.", "Hello, Ada!"]
    assert (thread["status"], len(thread["values"]["messages"])) == ("idle", 4)


@pytest.mark.parametrize("name", ["runs", "streams"])
async def test_worker_executes_a_run(
    name: str, make_chapter: Callable[[str], FastAPI], make_settings4: Callable[..., Settings], model: ScriptedModel
) -> None:
    model.then(calls(SUM), says("It is 42."))
    with ExitStack() as stack:
        stack.enter_context(running(create_worker(make_settings4())))
        async with signed_in(make_chapter(name), name) as http:
            question = {"messages": [{"role": "user", "content": "What is six times seven?"}]}
            values = (await http.post("/runs/wait", json={"assistant_id": "agent", "input": question})).json()
            chat = await http.post("/chat", json={"message": "Hi"})
            page = (await http.get("/")).text

    assert values["messages"][-1]["content"] == "It is 42."
    assert chat.status_code == 404
    assert ("chat.js" in page) == (name == "streams")


async def test_requests_are_limited_from_the_third_chapter_on(make_chapter: Callable[[str], FastAPI]) -> None:
    limited = {}
    for name in ("accounts", "limits"):
        async with signed_in(make_chapter(name), name) as http:
            limited[name] = "RateLimit-Limit" in (await http.get("/auth/me")).headers
            await http.delete("/auth/me")

    assert limited == {"accounts": False, "limits": True}


@pytest.mark.parametrize("name", NAMES)
def test_chapters_are_refused_in_production(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        "APP_ENV": "production",
        "OPENAI_BASE_URL": "http://host/v1",
        "LLM_MODEL": "m",
        "EMBEDDING_MODEL": "e",
        "DATABASE_URL": "postgresql://host/database",
        "REDIS_URL": "redis://host",
        "JWT_SECRET": token_urlsafe(48),
    }
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)

    with pytest.raises(ConfigurationError, match="a chapter lacks what protects the service"):
        load_settings(CHAPTERS[name].settings)
