"""The React example, built as its README says, in a real browser in front of the service as it really runs."""

import json
import os
import re
import subprocess
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from tests.support.agent_service import PASSWORD, AgentService, agent_service
from tests.support.databases import Databases
from tests.support.javascript import install_javascript
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel, calls, embeds, says

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "examples" / "web"
MAX_LINES = 600
NEEDED_NODE = (20, 19)  # Vite's


@pytest.fixture(scope="module")
def service(databases: Databases, _redis_server: str, _model_server: ScriptedModel) -> Iterator[AgentService]:
    """The service, with access tokens of a minute."""
    with (
        databases.migrated("project4_agent_api") as database_url,
        agent_service(database_url, _redis_server, _model_server, access_token_minutes="1") as started,
    ):
        yield started


@pytest.fixture(scope="module")
def site(service: AgentService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the built page, whose origin is not that of the service."""
    built = tmp_path_factory.mktemp("site")
    build(service.url, built)
    with running(Starlette(routes=[Mount("/", StaticFiles(directory=built, html=True))])) as url:
        yield url


@pytest.fixture(autouse=True)
def _fresh(model: ScriptedModel) -> None:
    """Let the model say "Hello!" until a test scripts something else."""
    assert model is not None


def build(api_url: str, built: Path) -> None:
    """Build the page into a folder: another process may be building one for its own service."""
    folder = install_javascript(SOURCE, "examples-web", NEEDED_NODE)
    command = ["npm", "run", "build", "--", "--outDir", str(built), "--emptyOutDir"]
    subprocess.run(command, cwd=folder, env=os.environ | {"VITE_API_URL": api_url}, check=True)


def register(page: Page, site: str) -> None:
    page.goto(site)
    page.get_by_label("E-mail").fill(f"{uuid.uuid4()}@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create an account").click()
    expect(page.get_by_role("button", name="New conversation")).to_be_visible()


def ask(page: Page, question: str) -> None:
    page.get_by_label("Message").fill(question)
    page.get_by_role("button", name="Send").click()


def test_answer_goes_on_after_a_reload(page: Page, site: str, model: ScriptedModel) -> None:
    text = " ".join(f"word{number}" for number in range(30))
    seen = threading.Event()
    model.says(text, last_word_after=seen)
    register(page, site)
    conversation = page.get_by_role("list", name="Conversation", exact=True)

    ask(page, "Count, please")
    expect(conversation).to_contain_text("word28")
    page.reload()
    expect(conversation).to_contain_text("Count, please")
    expect(conversation).to_contain_text("word28")
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    assert "word29" not in conversation.inner_text()
    seen.set()

    expect(conversation).to_contain_text(text)
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    expect(page.get_by_role("navigation", name="Conversations")).to_contain_text("Count, please")
    assert conversation.inner_text().count("word0 ") == 1


@pytest.mark.parametrize(("decision", "result"), [("Approve", "public"), ("Reject", "rejected")])
def test_tool_call_waits_for_a_decision(
    page: Page, site: str, model: ScriptedModel, decision: str, result: str
) -> None:
    fetch = ("fetch_web_page", json.dumps({"url": "http://127.0.0.1:9/"}))  # refused also when it is approved
    model.then(calls(("calculator", '{"expression": "17 * 23"}'), fetch), says("That is all."))
    register(page, site)

    ask(page, "Look there")
    approval = page.get_by_role("region", name="Approval")
    expect(approval).to_contain_text("http://127.0.0.1:9/")
    page.reload()
    expect(approval).to_contain_text("http://127.0.0.1:9/")
    assert "That is all." not in page.inner_text("main")
    approval.get_by_role("button", name=decision).click()

    conversation = page.get_by_role("list", name="Conversation", exact=True)
    expect(conversation).to_contain_text("That is all.")
    expect(conversation).to_contain_text("calculator · done")
    conversation.get_by_text("calculator").click()
    expect(conversation).to_contain_text("391")
    conversation.get_by_text("fetch_web_page · failed").click()
    expect(conversation).to_contain_text(result)


def test_answer_shows_its_sources(page: Page, site: str, model: ScriptedModel) -> None:
    model.embeds(embeds())
    model.then(calls(("search_documents", '{"query": "library"}')), says("At nine [1], I think [7]."))
    register(page, site)
    page.get_by_label("Add a document").set_input_files(
        {"name": "library.txt", "mimeType": "text/plain", "buffer": b"The library opens at nine."}
    )
    expect(page.get_by_role("status")).to_have_text("library.txt is ready.")

    ask(page, "When does the library open?")

    source = page.get_by_label("Source 1")
    source.click()
    expect(page.get_by_role("list", name="Conversation", exact=True)).to_contain_text("library.txt")
    expect(page.locator(".source q")).to_have_text("The library opens at nine.")
    expect(page.get_by_label("Source 7")).to_have_count(0)


def test_run_is_stopped(page: Page, site: str, model: ScriptedModel) -> None:
    never = threading.Event()
    model.says("one two three", last_word_after=never)
    register(page, site)
    ask(page, "Count")
    expect(page.get_by_role("list", name="Conversation", exact=True)).to_contain_text("one two")

    page.get_by_role("button", name="Stop").click()

    expect(page.get_by_role("button", name="Send")).to_be_visible()
    never.set()
    model.says("Again.")
    ask(page, "Once more")
    expect(page.get_by_role("list", name="Conversation", exact=True)).to_contain_text("Again.")


def test_expired_token_is_exchanged(refused_page: Page, site: str) -> None:
    page = refused_page
    register(page, site)
    page.evaluate(
        """() => {
            const session = JSON.parse(localStorage.session);
            localStorage.session = JSON.stringify({ ...session, access_token: session.access_token + "x" });
        }"""
    )

    ask(page, "Hello?")

    expect(page.get_by_role("list", name="Conversation", exact=True)).to_contain_text("Hello!")
    page.reload()
    expect(page.get_by_role("list", name="Conversation", exact=True)).to_contain_text("Hello!")
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    assert page.evaluate("localStorage.length") == 0


def test_refusals_are_shown(refused_page: Page, site: str) -> None:
    page = refused_page
    page.goto(site)
    page.get_by_label("E-mail").fill("nobody@example.com")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()

    expect(page.get_by_role("alert")).to_have_text(re.compile("e-mail|password", re.IGNORECASE))


def test_example_is_small() -> None:
    lines = sum(len(path.read_text("utf-8").splitlines()) for path in (SOURCE / "src").iterdir())
    assert lines < MAX_LINES
