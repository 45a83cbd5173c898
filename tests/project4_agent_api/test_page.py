"""Stage 4's console, in a real browser, in front of the service as it really runs: an API and a worker."""

import json
import os
import re
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx2
import pytest
from playwright.sync_api import Browser, FilePayload, Locator, Page, Response, Route, expect

from project4_agent_api.agents import agent, rag
from tests.support.agent_service import PASSWORD, AgentService, agent_service
from tests.support.databases import Databases
from tests.support.processes import run
from tests.support.scripted_model import ScriptedModel, calls, embeds, hangs, says

pytestmark = pytest.mark.slow

GRAPHS = Path(__file__).parent / "graphs" / "langgraph.json"
MARKUP = "<img src=x onerror=alert(1)>"
URL = "http://127.0.0.1:9/secret"
FETCH = ("fetch_web_page", json.dumps({"url": URL}))
SUM = ("calculator", '{"expression": "17 * 23"}')
Serve = Callable[..., AbstractContextManager[str]]
LONG = " ".join(f"word{number}" for number in range(40))


# One for all tests, each of which has accounts of its own. It is started before the browser: Alembic's environment
# runs an event loop, and so does playwright.
@pytest.fixture(scope="module", autouse=True)
def service(databases: Databases, _redis_server: str, _model_server: ScriptedModel) -> Iterator[AgentService]:
    """The service, with the graphs of this folder."""
    with (
        databases.migrated("project4_agent_api") as database_url,
        agent_service(database_url, _redis_server, _model_server, GRAPHS, sign_ins_per_minute="10000") as running,
    ):
        yield running


@pytest.fixture(autouse=True)
def _fresh(model: ScriptedModel) -> None:
    """Let the model say "Hello!" until a test scripts something else."""
    assert model is not None


@pytest.fixture
def email() -> str:
    """An address that has no account yet."""
    return f"ada-{uuid.uuid4()}@example.com"


@pytest.fixture
def bob(service: AgentService) -> Iterator[httpx2.Client]:
    """A client of another user."""
    with httpx2.Client(base_url=service.url, headers=service.sign_up(), timeout=120, trust_env=False) as client:
        yield client


def register(page: Page, service: AgentService, email: str) -> Locator:
    """Make an account on the page; give the panel of the chat."""
    page.goto(service.url)
    page.get_by_role("button", name="Create an account").click()
    account = panel(page, "Account")
    account.get_by_label("E-mail").fill(email)
    account.get_by_label("Name").fill("Ada")
    account.get_by_label("Password").fill(PASSWORD)
    account.get_by_role("button", name="Register").click()
    return agents(page)


def sign_in(page: Page, email: str, password: str = PASSWORD) -> None:
    account = panel(page, "Account")
    account.get_by_label("E-mail").fill(email)
    account.get_by_label("Password").fill(password)
    account.get_by_role("button", name="Sign in").click()


def visit(page: Page, view: str) -> None:
    page.get_by_role("navigation", name="Views").get_by_role("link", name=view, exact=True).click()


def sign_out(page: Page) -> None:
    visit(page, "Account")
    page.get_by_role("button", name="Sign out", exact=True).click()


def panel(page: Page, title: str) -> Locator:
    return page.locator(".panel", has=page.get_by_role("heading", name=title, exact=True))


def agents(page: Page) -> Locator:
    found = panel(page, "Chat")
    expect(found.get_by_label("Assistant")).to_have_text(re.compile("agent"))
    return found


def send(chat: Locator, text: str) -> None:
    chat.get_by_label("Message", exact=True).fill(text)
    chat.get_by_label("Message", exact=True).press("Control+Enter")


def answers(chat: Locator) -> Locator:
    return chat.locator(".ai > .answer:not([hidden])")


def call_of(chat: Locator, name: str) -> Locator:
    return chat.locator("details", has=chat.page.locator("summary", has_text=name))


def is_done(chat: Locator) -> None:
    expect(chat.locator(".talk > [role=status]")).to_have_text("Done.", timeout=20_000)


def test_answer_streams_with_tool_calls(page: Page, service: AgentService, email: str, model: ScriptedModel) -> None:
    chat = register(page, service, email)
    expect(chat.get_by_text("No threads yet.")).to_be_visible()
    rest = threading.Event()
    model.then(calls(SUM), says(LONG, last_word_after=rest))

    send(chat, "What is 17 * 23?")

    call = call_of(chat, "calculator")
    expect(call.locator("summary")).to_contain_text("done")
    expect(call.locator("pre")).to_have_text([re.compile(r'"expression": "17 \* 23"'), "391"])
    expect(answers(chat)).to_contain_text("word2")
    assert "word39" not in answers(chat).inner_text()
    expect(chat.get_by_role("button", name="Stop")).to_be_visible()
    rest.set()
    expect(answers(chat)).to_have_text(LONG)
    is_done(chat)
    expect(chat.locator(".human .answer")).to_have_text("What is 17 * 23?")
    expect(chat.get_by_label("Message", exact=True)).to_have_value("")
    expect(chat.locator(".thread")).to_have_text([re.compile("What is 17")])
    expect(chat.get_by_label("Comment")).to_be_hidden()
    chat.get_by_role("button", name="Bad answer").click()
    chat.get_by_label("Comment").fill("too long")
    chat.get_by_role("button", name="Save").click()
    expect(chat.get_by_text("it is saved")).to_be_visible()
    page.reload()
    expect(answers(agents(page))).to_have_text(LONG)
    expect(call_of(chat, "calculator").locator("pre").last).to_have_text("391")
    expect(chat.get_by_label("Comment")).to_have_value("too long")
    expect(chat.get_by_role("button", name="Bad answer")).to_have_attribute("aria-pressed", "true")
    expect(chat.get_by_role("button", name="Good answer")).to_have_attribute("aria-pressed", "false")


def test_reasoning_is_folded_above_the_answer(
    page: Page, service: AgentService, email: str, model: ScriptedModel
) -> None:
    chat = register(page, service, email)
    model.says("<think>Let me see.</think>It is 42.")

    send(chat, "What is 6 * 7?")

    is_done(chat)
    for _ in range(2):
        expect(answers(agents(page))).to_have_text("It is 42.")
        reasoning = agents(page).get_by_text("Let me see.", exact=True)
        expect(reasoning).to_be_hidden()
        agents(page).get_by_text("Reasoning", exact=True).click()
        expect(reasoning).to_be_visible()
        page.reload()


def test_run_continues_over_a_reload(page: Page, service: AgentService, email: str, model: ScriptedModel) -> None:
    chat = register(page, service, email)
    rest = threading.Event()
    model.then(calls(SUM), says(LONG, last_word_after=rest))
    send(chat, "What is 17 * 23?")
    expect(answers(chat)).to_contain_text("word2")

    page.reload()

    chat = agents(page)
    expect(answers(chat)).to_contain_text("word3")  # earlier messages are shown too
    assert "word39" not in answers(chat).inner_text()
    expect(call_of(chat, "calculator").locator("pre").last).to_have_text("391")
    rest.set()
    expect(answers(chat)).to_have_text(LONG, timeout=20_000)
    is_done(chat)
    assert len(model.requests) == 2


def test_broken_connection_is_reopened(
    refused_page: Page, service: AgentService, email: str, model: ScriptedModel
) -> None:
    page = refused_page
    chat = register(page, service, email)
    expect(chat.get_by_label("Assistant")).to_be_enabled()

    def break_off(route: Route) -> None:
        # The run is started, and the response breaks off after its first event.
        background = route.request.url.removesuffix("/stream")
        begun = route.fetch(url=background, method="POST", post_data=route.request.post_data).json()
        metadata = json.dumps({"run_id": begun["run_id"], "attempt": 1})
        body = f"event: metadata\r\ndata: {metadata}\r\nid: 1-1\r\n\r\n"
        route.fulfill(content_type="text/event-stream", body=body)

    page.route("**/runs/stream", break_off, times=1)
    model.says(LONG, tokens_per_second=20)

    with page.expect_request(lambda request: request.headers.get("last-event-id") == "1-1"):
        send(chat, "Hello")

    expect(answers(chat)).to_have_text(LONG, timeout=20_000)
    is_done(chat)


def test_call_is_approved(page: Page, service: AgentService, email: str, model: ScriptedModel) -> None:
    chat = register(page, service, email)
    model.then(calls(FETCH), says("I could not read it."))
    send(chat, "Read that page")
    decision = chat.get_by_role("group", name="The assistant wants to call fetch_web_page")
    expect(decision.locator("pre")).to_contain_text(URL)
    expect(call_of(chat, "fetch_web_page").locator("summary")).to_contain_text("waiting for your decision")
    expect(chat.get_by_label("Message", exact=True)).to_be_hidden()
    page.reload()  # it can be decided later

    decision.get_by_role("button", name="Approve").click()

    expect(answers(chat)).to_have_text("I could not read it.")
    expect(call_of(chat, "fetch_web_page").locator("pre").last).to_contain_text("Error: fetch_web_page failed.")
    is_done(chat)


def test_call_is_rejected(page: Page, service: AgentService, email: str, model: ScriptedModel) -> None:
    chat = register(page, service, email)
    model.then(calls(FETCH), says("Then not."))
    send(chat, "Read that page")

    chat.get_by_role("button", name="Reject").click()
    chat.get_by_label("What to tell the assistant").fill("That one is secret.")
    chat.get_by_role("button", name="Do not call it").click()

    expect(answers(chat)).to_have_text("Then not.")
    expect(call_of(chat, "fetch_web_page").locator("pre").last).to_contain_text("That one is secret.")
    assert "That one is secret." in json.dumps(model.requests[-1].body)


def test_several_calls_are_decided_together(
    page: Page, service: AgentService, email: str, model: ScriptedModel
) -> None:
    chat = register(page, service, email)
    model.then(calls(FETCH, FETCH), says("Good."))
    send(chat, "Read these pages")
    decisions = chat.get_by_role("group", name=re.compile("wants to call"))
    expect(decisions).to_have_count(2)
    first, second = decisions.first, decisions.last

    first.get_by_role("button", name="Edit").click()
    first.get_by_label("Arguments").fill("{")
    first.get_by_role("button", name="Call with these arguments").click()
    expect(first.get_by_text("Please enter a JSON object")).to_be_visible()
    first.get_by_label("Arguments").fill('{"url": "http://10.0.0.7/page"}')
    first.get_by_role("button", name="Call with these arguments").click()
    expect(first.get_by_role("button", name="Edit")).to_have_attribute("aria-pressed", "true")
    assert len(model.requests) == 1
    second.get_by_role("button", name="Answer instead").click()
    second.get_by_label("What to tell the assistant").fill("It says 42.")
    second.get_by_role("button", name="Answer", exact=True).click()

    expect(answers(chat)).to_have_text("Good.")
    results = [message["content"] for message in model.requests[-1].body["messages"] if message["role"] == "tool"]
    assert any("10.0.0.7 is not a public address" in result for result in results)
    assert "It says 42." in results


def test_interrupt_of_a_graph_is_answered(page: Page, service: AgentService, email: str) -> None:
    chat = register(page, service, email)
    chat.get_by_label("Assistant").select_option(label="ask")
    send(chat, "Shall I?")
    expect(chat.locator(".decision pre")).to_contain_text("Shall I?")

    chat.get_by_label("Your answer").fill("yes")
    chat.get_by_role("button", name="Answer", exact=True).click()

    expect(answers(chat)).to_have_text("You said yes.")


def test_graph_with_structured_input(page: Page, service: AgentService, email: str) -> None:
    chat = register(page, service, email)
    chat.get_by_label("Assistant").select_option(label="form")
    given = chat.get_by_label("Input, as JSON")
    expect(given).to_have_value(re.compile(r'"article": "",\s+"pieces": 0'))
    given.fill("[1]")
    chat.get_by_role("button", name="Send").click()
    expect(chat.get_by_text("Please enter a JSON object")).to_be_visible()

    given.fill('{"article": "chair", "pieces": 4}')
    chat.get_by_role("button", name="Send").click()

    is_done(chat)
    expect(chat.get_by_role("log").locator("> pre")).to_contain_text('"total": 12')
    page.reload()
    expect(agents(page).get_by_role("log").locator("> pre")).to_contain_text('"total": 12')
    expect(given).to_be_visible()


def test_graph_without_an_input_schema(page: Page, service: AgentService, email: str, tmp_path: Path) -> None:
    chat = register(page, service, email)
    chat.get_by_label("Assistant").select_option(label="steps")
    chat.get_by_role("button", name="Write JSON instead").click()

    given = {"steps": 2, "seconds": 0.1, "log": str(tmp_path / "log")}
    chat.get_by_label("Input, as JSON").fill(json.dumps(given))
    chat.get_by_role("button", name="Send").click()

    is_done(chat)
    expect(chat.locator(".steps li")).to_have_text([re.compile(r"step\W+done\W+0"), re.compile(r"step\W+done\W+1")])


def test_graph_without_an_object_state(page: Page, service: AgentService, email: str) -> None:
    chat = register(page, service, email)
    chat.get_by_label("Assistant").select_option(label="plain")
    for given, shown in (("a word", '"a word"'), (["a"], '[\n  "a"\n]'), (0, "0"), ("", '""')):
        chat.get_by_label("Input, as JSON").fill(json.dumps({"give": given}))
        chat.get_by_role("button", name="Send").click()
        expect(chat.get_by_role("log").locator("> pre")).to_have_text(shown)
        is_done(chat)
    page.reload()
    expect(agents(page).get_by_role("log").locator("> pre")).to_have_text('""')


def test_stopped_run_continues(page: Page, service: AgentService, email: str, model: ScriptedModel) -> None:
    chat = register(page, service, email)
    model.hangs(after=3)
    send(chat, "Hello")
    expect(answers(chat)).to_contain_text("token2")

    chat.get_by_role("button", name="Stop").click()

    expect(chat.get_by_text("The last run was stopped before it finished.")).to_be_visible()
    assert model.requests[0].finished.wait(120)
    assert model.requests[0].cancelled
    model.says("Here I am again.")
    chat.get_by_role("button", name="Continue").click()
    expect(answers(chat)).to_have_text("Here I am again.")
    expect(chat.locator(".human")).to_have_count(1)


def test_stopped_call_is_shown_and_the_thread_goes_on(
    page: Page, service: AgentService, email: str, model: ScriptedModel
) -> None:
    chat = register(page, service, email)
    model.then(calls(("search_documents", '{"query": "opening hours"}')), says("Never mind."))
    model.embeds(hangs())
    send(chat, "When do they open?")
    summary = call_of(chat, "search_documents").locator("summary")
    expect(summary).to_contain_text("calling…")

    chat.get_by_role("button", name="Stop").click()

    expect(summary).to_contain_text("stopped")
    model.embeds(embeds())
    send(chat, "Forget it")
    expect(answers(chat)).to_have_text("Never mind.")
    expect(summary).to_contain_text("stopped")
    roles = [message["role"] for message in model.requests[-1].body["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]


def test_results_are_paired_with_calls_by_position(
    page: Page, service: AgentService, email: str, model: ScriptedModel
) -> None:
    """Ids of calls are repeated on the thread."""
    chat = register(page, service, email)
    model.says("Hello!")
    send(chat, "Hello")
    is_done(chat)
    stored: list[dict[str, object]] = []
    for expression, result in (("1 + 1", "two"), ("2 + 2", "four")):
        call = {"type": "tool_call", "id": "c:0", "name": "calculator", "args": {"expression": expression}}
        stored += [
            {"type": "ai", "content": "", "tool_calls": [call]},
            {"type": "tool", "content": result, "tool_call_id": "c:0"},
        ]
    credentials = {"username": email, "password": PASSWORD}
    with httpx2.Client(base_url=service.url, timeout=120, trust_env=False) as http:
        token = http.post("/auth/token", data=credentials).raise_for_status().json()["access_token"]
        http.headers["Authorization"] = f"Bearer {token}"
        (thread,) = http.post("/threads/search", json={}).json()
        http.post(f"/threads/{thread['thread_id']}/state", json={"values": {"messages": stored}}).raise_for_status()

    page.reload()

    expect(call_of(chat, "calculator")).to_have_count(2)
    for place, (expression, result) in enumerate((("1 + 1", "two"), ("2 + 2", "four"))):
        texts = call_of(chat, "calculator").nth(place).locator("pre")
        expect(texts.first).to_contain_text(expression)
        expect(texts.last).to_have_text(result)


def test_unavailable_model_is_reported(page: Page, service: AgentService, email: str, model: ScriptedModel) -> None:
    chat = register(page, service, email)
    model.fails(500)

    send(chat, "Hello")

    expect(chat.get_by_role("alert")).to_have_text("The answer could not be completed.")
    expect(chat.locator(".problem .detail")).not_to_be_empty()
    model.says("Back again.")
    chat.get_by_role("button", name="Try again").click()
    expect(answers(chat)).to_have_text("Back again.")
    expect(chat.get_by_role("alert")).to_have_count(0)
    expect(chat.locator(".human")).to_have_count(1)


def test_collection_is_shared_and_asked(
    page: Page, service: AgentService, bob: httpx2.Client, email: str, model: ScriptedModel
) -> None:
    birds = bob.post("/collections", json={"name": "Birds"}).json()["id"]
    file = {"file": ("birds.md", b"The heron nests in the oak.")}
    document = bob.post("/documents", files=file, data={"collection_id": birds}).json()["id"]
    assert "event: ready" in bob.get(f"/documents/{document}/events").text
    register(page, service, email)
    visit(page, "Documents")
    documents = panel(page, "Ask your documents")
    documents.get_by_text("Manage collections").click()
    documents.get_by_label("New collection").fill("Mine")
    documents.get_by_role("button", name="Create").click()

    documents.get_by_role("button", name="Share", exact=True).click()
    sharing = documents.get_by_role("group", name="Mine")
    who = sharing.get_by_label("E-mail address or id of a user")
    who.fill("nobody@example.com")
    sharing.get_by_role("button", name="Share", exact=True).click()
    expect(sharing.get_by_role("listitem")).to_contain_text("nobody@example.com invited to read")
    sharing.get_by_role("button", name="Withdraw").click()
    expect(sharing.get_by_role("listitem")).to_have_count(0)
    who.fill(bob.get("/auth/me").json()["id"])
    sharing.get_by_label("The user may").select_option("write")
    sharing.get_by_role("button", name="Share", exact=True).click()

    expect(sharing.get_by_role("listitem")).to_contain_text("read and change")
    shared = [(one["name"], one["access"]) for one in bob.get("/collections").json()["items"]]
    assert shared == [("Birds", "owner"), ("Mine", "write")]
    bob.post(f"/collections/{birds}/invitations", json={"email": email, "access": "read"}).raise_for_status()
    page.reload()
    expect(documents.get_by_text("invites you to read the documents in “Birds”.")).to_be_visible()
    documents.get_by_role("button", name="Accept").click()
    expect(documents.get_by_text("“Birds” is among your collections now.")).to_be_visible()
    expect(documents.get_by_role("button", name="Accept")).to_be_hidden()
    documents.get_by_label("Collection", exact=True).select_option(label="Birds (shared with me)")
    documents.get_by_role("link", name="birds.md").click()
    expect(documents.locator(".detail .text")).to_have_text("The heron nests in the oak.")
    model.says("The heron nests in the oak. [1]")
    documents.get_by_label("Question about the documents").fill("Where does the heron nest?")
    documents.get_by_role("button", name="Ask the documents").click()
    expect(documents.get_by_text("Done. 1 passage is cited.")).to_be_visible()
    documents.get_by_role("link", name="All documents").click()
    documents.get_by_text("Manage collections").click()
    documents.get_by_role("button", name="Leave").click()
    expect(documents.get_by_role("button", name="Leave")).to_be_hidden()
    assert bob.get(f"/collections/{birds}/shares").json()["items"] == []


def test_answer_cites_an_uploaded_document(page: Page, service: AgentService, email: str, model: ScriptedModel) -> None:
    chat = register(page, service, email)
    handbook = "# Leave\n\nEveryone has 25 days of paid leave.\n"
    visit(page, "Documents")
    documents = panel(page, "Ask your documents")
    content: FilePayload = {"name": "handbook.md", "mimeType": "text/markdown", "buffer": handbook.encode()}
    documents.locator("input[type=file]").set_input_files(content)
    expect(documents.get_by_text("Ready · 1 passage")).to_be_visible(timeout=20_000)
    documents.get_by_role("link", name="handbook.md").click()
    with page.expect_download() as download:
        documents.get_by_role("button", name="Download").click()
    assert download.value.path().read_text() == handbook
    visit(page, "Chat")
    model.then(calls(("search_documents", '{"query": "paid leave"}')), says("It is 25 days. [1]"))

    send(chat, "How much leave is there?")

    expect(answers(chat)).to_have_text("It is 25 days. [1]")
    expect(chat.locator(".sources li")).to_have_text("[1] handbook.md Everyone has 25 days of paid leave.")
    chat.get_by_role("button", name="New thread").click()
    chat.get_by_label("Assistant").select_option(label="rag")
    model.says("Everyone has 25 days of paid leave. [1]")
    send(chat, "How many days of paid leave does everyone have?")
    expect(answers(chat)).to_have_text("Everyone has 25 days of paid leave. [1]")
    expect(chat.locator(".sources li")).to_contain_text("[1] handbook.md")


def test_threads_are_opened_and_deleted(page: Page, service: AgentService, email: str, model: ScriptedModel) -> None:
    chat = register(page, service, email)
    for text in ("First", "Second"):
        chat.get_by_role("button", name="New thread").click()
        model.says(f"{text} answer.")
        send(chat, f"{text} question")
        is_done(chat)
    expect(chat.locator(".thread .title")).to_have_text(["Second question", "First question"])

    chat.get_by_role("link", name="First question").click()
    expect(answers(chat)).to_have_text("First answer.")
    chat.get_by_role("button", name="Delete", exact=True).last.click()
    expect(chat.get_by_role("button", name="Cancel")).to_be_focused()
    chat.get_by_role("button", name="Delete permanently").click()

    expect(chat.locator(".thread .title")).to_have_text(["Second question"])
    expect(answers(chat)).to_have_count(0)
    page.reload()
    expect(agents(page).locator(".thread .title")).to_have_text(["Second question"])


def test_users_see_only_their_own_threads(page: Page, service: AgentService, email: str, model: ScriptedModel) -> None:
    chat = register(page, service, email)
    model.says("Only for Ada.")
    send(chat, "My secret question")
    is_done(chat)
    expect(panel(page, "Users and their conversations")).to_have_count(0)
    visit(page, "Documents")
    ask = panel(page, "Ask the model")
    ask.get_by_label("Your question").fill("My other question")
    ask.get_by_role("button", name="Ask", exact=True).click()
    expect(ask.get_by_role("listitem")).to_contain_text("My other question")

    visit(page, "Account")
    expect(panel(page, "Account").get_by_text(email)).to_be_visible()
    page.get_by_role("button", name="Sign out", exact=True).click()

    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    expect(page.get_by_role("heading", name="Chat", exact=True)).to_be_hidden()
    assert page.evaluate("sessionStorage.length") == 0
    assert page.url == f"{service.url}/"
    chat = register(page, service, f"grace-{email}")
    expect(chat.get_by_text("No threads yet.")).to_be_visible()
    visit(page, "Documents")
    expect(panel(page, "Ask the model").get_by_text("Nothing yet.")).to_be_visible()
    assert "secret" not in page.content()


def test_other_users_thread_is_not_found(refused_page: Page, service: AgentService, email: str) -> None:
    page = refused_page
    chat = register(page, service, email)
    send(chat, "My secret question")
    is_done(chat)
    address = page.url
    sign_out(page)
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    register(page, service, f"grace-{email}")

    page.goto(address)
    page.reload()

    expect(agents(page).get_by_role("alert")).to_have_text("This does not exist, or was deleted.")
    assert "secret" not in page.content()


def test_administrator_sees_the_users(page: Page, service: AgentService, email: str) -> None:
    environment = os.environ | service.environment
    assert run("project4_agent_api", "create-admin", email, environment=environment, says=PASSWORD).returncode == 0
    page.goto(service.url)

    sign_in(page, email)

    visit(page, "Administration")
    users = panel(page, "Users and their conversations")
    users.get_by_label("Find a user").fill(email)
    expect(users.get_by_role("listitem")).to_contain_text([email])


@pytest.mark.parametrize(
    ("given", "password", "sentence"),
    [
        ("{email}", "a wrong password", "Wrong e-mail or password."),
        ("not-{email}", PASSWORD, "Wrong e-mail or password."),
        ("nobody", PASSWORD, "Please enter an e-mail address."),
        ("{email}", "", "Please enter a password."),
    ],
    ids=["wrong password", "unknown", "no e-mail", "no password"],
)
def test_failed_sign_in_shows_the_reason(
    refused_page: Page, service: AgentService, email: str, given: str, password: str, sentence: str
) -> None:
    register(refused_page, service, email)
    sign_out(refused_page)

    sign_in(refused_page, given.format(email=email), password)

    expect(panel(refused_page, "Account").get_by_text(sentence)).to_be_visible()
    expect(refused_page.get_by_role("heading", name="Chat", exact=True)).to_be_hidden()


def test_taken_email_is_reported(refused_page: Page, service: AgentService, email: str) -> None:
    register(refused_page, service, email)
    sign_out(refused_page)
    refused_page.get_by_role("button", name="Create an account").click()
    account = panel(refused_page, "Account")

    account.get_by_label("E-mail").fill(email.upper())
    account.get_by_label("Name").fill("Another Ada")
    account.get_by_label("Password").fill(PASSWORD)
    account.get_by_role("button", name="Register").click()

    expect(account.get_by_text("An account with this e-mail already exists.")).to_be_visible()
    expect(account.get_by_label("E-mail")).to_be_focused()


def test_expired_token_is_renewed_once(
    refused_page: Page, service: AgentService, email: str, model: ScriptedModel
) -> None:
    page = refused_page
    chat = register(page, service, email)
    renewals: list[Response] = []
    page.on("response", lambda response: renewals.append(response) if "/auth/refresh" in response.url else None)
    spoil = 'tokens => sessionStorage.setItem("tokens", JSON.stringify({...tokens, access_token: "expired"}))'
    page.evaluate(spoil, page.evaluate('JSON.parse(sessionStorage.getItem("tokens"))'))

    page.reload()  # many requests at once, of several panels

    chat = agents(page)
    model.says("Still here.")
    send(chat, "Hello")
    expect(answers(chat)).to_have_text("Still here.")
    assert [response.status for response in renewals] == [200]


def test_ended_sign_in_shows_the_form(refused_page: Page, service: AgentService, email: str) -> None:
    page = refused_page
    register(page, service, email)
    page.evaluate(
        """async () => {
            const { refresh_token } = JSON.parse(sessionStorage.getItem("tokens"));
            const body = JSON.stringify({ refresh_token });
            await fetch("auth/logout", { method: "POST", body, headers: { "Content-Type": "application/json" } });
        }"""
    )

    page.get_by_role("button", name="New thread").click()
    send(panel(page, "Chat"), "Hello")

    expect(page.get_by_text("Your session has ended. Please sign in again.")).to_be_visible()
    expect(page.get_by_role("heading", name="Chat", exact=True)).to_be_hidden()


def test_question_stays_in_sight_while_a_long_answer_streams(
    page: Page, service: AgentService, email: str, model: ScriptedModel
) -> None:
    page.set_viewport_size({"width": 390, "height": 640})
    chat = register(page, service, email)
    rest = threading.Event()
    model.then(says(" ".join([LONG] * 5), last_word_after=rest))

    send(chat, "Tell me everything.")

    expect(answers(chat)).to_contain_text(f"{LONG} {LONG} {LONG}")
    expect(chat.locator(".human .answer")).to_be_in_viewport()
    rest.set()
    is_done(chat)
    expect(chat.locator(".human .answer")).to_be_in_viewport()


def test_markup_stays_text_and_a_phone_does_not_scroll_sideways(
    page: Page, service: AgentService, email: str, model: ScriptedModel
) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    chat = register(page, service, email)
    unbreakable = f"{MARKUP} {'unbreakable' * 50}"
    model.then(calls(("recall", json.dumps({"query": unbreakable}))), says(unbreakable))

    send(chat, unbreakable)

    is_done(chat)
    expect(answers(chat)).to_have_text(unbreakable)
    expect(chat.locator(".tool-call")).to_contain_text(MARKUP)
    expect(page.locator("main img")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_page_is_available_in_chinese(
    browser: Browser, service: AgentService, email: str, model: ScriptedModel
) -> None:
    with browser.new_context(locale="zh-CN") as context:
        page = context.new_page()
        page.goto(service.url)
        page.get_by_role("button", name="注册新账号").click()
        page.get_by_label("电子邮箱").fill(email)
        page.get_by_label("姓名").fill("阿达")
        page.get_by_label("密码").fill(PASSWORD)
        page.get_by_role("button", name="注册", exact=True).click()
        chat = panel(page, "对话")
        model.then(calls(FETCH), says("好的。"))

        for description in (agent.DESCRIPTION, rag.DESCRIPTION):
            chat.get_by_label("助手").select_option("rag" if description == rag.DESCRIPTION else "agent")
            expect(chat.locator("#chat-assistant-hint")).to_have_attribute("data-en", description)
            expect(chat.locator("#chat-assistant-hint")).to_have_text(re.compile("[一-龥]{4}"))
        chat.get_by_label("助手").select_option("agent")
        chat.get_by_label("消息", exact=True).fill("读一下这个网页")
        chat.get_by_role("button", name="发送").click()

        chat.get_by_role("button", name="批准").click()
        expect(chat.get_by_text("完成。", exact=True)).to_be_visible()
        page.get_by_role("button", name="English").click()
        expect(panel(page, "Chat").get_by_text("Done.", exact=True)).to_be_visible()


def test_page_without_accounts_shows_all_panels(page: Page, serve4: Serve) -> None:
    with serve4(auth_required=False) as url:
        page.goto(url)

        expect(agents(page).get_by_text("No threads yet.")).to_be_visible()
        visit(page, "Administration")
        expect(panel(page, "Users and their conversations").get_by_text("There are no users yet.")).to_be_visible()
        expect(page.get_by_role("link", name="Account")).to_have_count(0)
