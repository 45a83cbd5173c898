"""The session of stage 4's page, whose access token expires while it is used."""

import threading
import time
import uuid
from collections.abc import Iterator

import pytest
from httpx2 import Client
from jose import jwt
from playwright.sync_api import Page, Response, expect

from tests.support.agent_service import PASSWORD, AgentService, agent_service
from tests.support.databases import Databases
from tests.support.oauth import CALLBACK, VERIFIER, parameters, query
from tests.support.scripted_model import ScriptedModel

pytestmark = pytest.mark.slow

WORDS = "An answer that takes longer than its token"


# It is started before the browser: Alembic's environment runs an event loop, and so does playwright.
@pytest.fixture(scope="module", autouse=True)
def service(databases: Databases, _redis_server: str, _model_server: ScriptedModel) -> Iterator[AgentService]:
    """The service with its built-in graphs."""
    with (
        databases.migrated("project4_agent_api") as database_url,
        agent_service(database_url, _redis_server, _model_server) as running,
    ):
        yield running


@pytest.fixture
def renewals(refused_page: Page, service: AgentService) -> list[Response]:
    """Register on the page; give the responses to the page's requests for new tokens."""
    page = refused_page
    responses: list[Response] = []
    page.on("response", lambda response: responses.append(response) if "/auth/refresh" in response.url else None)
    page.goto(service.url)
    page.get_by_role("button", name="Create an account").click()
    account = page.locator(".panel", has=page.get_by_role("heading", name="Account", exact=True))
    account.get_by_label("E-mail").fill(f"{uuid.uuid4()}@example.com")
    account.get_by_label("Name").fill("Ada")
    account.get_by_label("Password").fill(PASSWORD)
    account.get_by_role("button", name="Register").click()
    expect(page.get_by_role("heading", name="Chat", exact=True)).to_be_visible()
    return responses


def change_tokens(page: Page, service: AgentService, *, seconds: float, renew_in: float) -> None:
    """Let the page's access token expire, and be replaced, in so many seconds."""
    tokens = page.evaluate('JSON.parse(sessionStorage.getItem("tokens"))')
    claims = jwt.get_unverified_claims(tokens["access_token"]) | {"exp": int(time.time() + seconds)}
    tokens["access_token"] = jwt.encode(claims, service.environment["JWT_SECRET"], algorithm="HS256")
    tokens["renew_at"] = (time.time() + renew_in) * 1000
    page.evaluate('tokens => sessionStorage.setItem("tokens", JSON.stringify(tokens))', tokens)
    page.reload()


def ask(page: Page) -> None:
    chat = page.locator(".panel", has=page.get_by_role("heading", name="Chat", exact=True))
    expect(chat.get_by_label("Assistant")).to_contain_text("agent")
    chat.get_by_label("Message", exact=True).fill("How long?")
    chat.get_by_label("Message", exact=True).press("Control+Enter")


def test_answer_continues_when_the_token_expires(
    refused_page: Page, service: AgentService, renewals: list[Response], model: ScriptedModel
) -> None:
    page = refused_page
    rest = threading.Event()
    model.says(WORDS, last_word_after=rest)
    change_tokens(page, service, seconds=25, renew_in=3600)

    ask(page)

    with page.expect_response("**/auth/refresh", timeout=60_000):
        expect(page.get_by_text("An answer that takes longer").first).to_be_visible(timeout=20_000)
    rest.set()
    expect(page.get_by_text(WORDS, exact=True).first).to_be_visible(timeout=20_000)
    assert [response.status for response in renewals] == [200]


def test_token_is_renewed_before_it_expires(
    refused_page: Page, service: AgentService, renewals: list[Response], model: ScriptedModel
) -> None:
    page = refused_page
    model.says("Hello!")
    change_tokens(page, service, seconds=60, renew_in=0)

    ask(page)

    expect(page.get_by_text("Hello!").first).to_be_visible(timeout=20_000)
    assert [response.status for response in renewals] == [200]


@pytest.mark.usefixtures("renewals")
def test_program_is_allowed_and_removed(refused_page: Page, service: AgentService) -> None:
    page, name = refused_page, "<img src=x onerror=alert(1)>"
    with Client(base_url=service.url, timeout=120, trust_env=False) as http:
        registered = http.post("/oauth/register", json={"client_name": name, "redirect_uris": [CALLBACK]}).json()
        page.goto(f"{service.url}/authorize?{query(registered['client_id'])}")
        expect(page.locator(".consent")).to_contain_text(name)
        page.route(f"{CALLBACK}?*", lambda route: route.fulfill(body="Signed in"))
        page.get_by_role("button", name="Allow").click()
        page.wait_for_url(f"{CALLBACK}?*")
        form = {
            "grant_type": "authorization_code",
            "client_id": registered["client_id"],
            "code": parameters(page.url)["code"],
            "code_verifier": VERIFIER,
            "redirect_uri": CALLBACK,
        }
        tokens = http.post("/oauth/token", data=form).raise_for_status().json()

        page.goto(f"{service.url}/#/account")
        expect(page.locator(".programs")).to_contain_text(name)
        page.get_by_role("button", name="Remove").click()
        expect(page.get_by_text("No program has signed in for you.")).to_be_visible()
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert http.post("/mcp", json={}, headers=bearer).status_code == 401
