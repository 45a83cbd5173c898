"""The views of stage 4's page: their addresses, the browser's history, and links that need a sign-in first."""

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx2
import pytest
from playwright.sync_api import Locator, Page, expect

from project1_qa_api.settings import Settings as Stage1Settings
from project4_agent_api.main import create_app
from tests.project4_agent_api.conftest import settings_for
from tests.support.accounts import PASSWORD
from tests.support.databases import Databases
from tests.support.running import running

pytestmark = pytest.mark.slow


# It is started before the browser: Alembic's environment runs an event loop, and so does playwright.
@pytest.fixture(scope="module", autouse=True)
def url(databases: Databases, _redis_server: str, make_settings: Callable[..., Stage1Settings]) -> Iterator[str]:
    """The API of stage 4, with the X-ray below each view; no run is executed."""
    with (
        databases.migrated("project4_agent_api") as database_url,
        running(create_app(settings_for(make_settings, database_url, _redis_server, xray_enabled=True))) as url,
    ):
        yield url


@dataclass
class User:
    """An account with two threads.

    Attributes:
        first: Id of the thread "First".
        second: Id of the thread "Second".
    """

    email: str
    first: str
    second: str


@pytest.fixture
def user(url: str) -> User:
    """A new account."""
    email = f"ada-{uuid.uuid4()}@example.com"
    with httpx2.Client(base_url=url, timeout=120, trust_env=False) as http:
        http.post("/auth/register", json={"email": email, "name": "Ada", "password": PASSWORD}).raise_for_status()
        tokens = http.post("/auth/token", data={"username": email, "password": PASSWORD}).raise_for_status().json()
        http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        made = [http.post("/threads", json={"metadata": {"title": title}}) for title in ("First", "Second")]
        return User(email, *[response.raise_for_status().json()["thread_id"] for response in made])


def sign_in(page: Page, user: User) -> None:
    page.locator("#account-email").fill(user.email)
    page.locator("#account-password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(views(page)).to_be_visible()


def views(page: Page) -> Locator:
    return page.get_by_role("navigation", name="Views")


def visit(page: Page, view: str) -> None:
    views(page).get_by_role("link", name=view, exact=True).click()


def is_at(page: Page, view: str, heading: str, address: str) -> None:
    """Expect one view, with its heading, its title and its address."""
    expect(page.get_by_role("heading", level=2).first).to_have_text(re.compile(heading))
    expect(views(page).locator("[aria-current=page]")).to_have_text(view)
    expect(page).to_have_title(f"{view} · Project 4: agents")
    expect(page).to_have_url(re.compile(f"{re.escape(address)}$"))


def is_open(page: Page, title: str) -> None:
    expect(page.locator(".thread[aria-current=page] .title")).to_have_text(title)


def test_views_have_addresses_and_a_history(page: Page, url: str, user: User) -> None:
    page.goto(url)
    sign_in(page, user)
    is_at(page, "Chat", "^Chat", "/")

    visit(page, "Documents")
    expect(page.get_by_role("heading", name="Ask your documents")).to_be_focused()
    visit(page, "Account")
    is_at(page, "Account", "Account", "#/account")
    expect(page.get_by_role("heading", name="Account")).to_be_focused()
    page.go_back()
    expect(page.get_by_role("heading", name="Ask your documents")).to_be_focused()
    expect(page.get_by_role("button", name="Sign out", exact=True)).to_be_hidden()
    page.go_forward()
    is_at(page, "Account", "Account", "#/account")
    page.reload()
    is_at(page, "Account", "Account", "#/account")
    page.get_by_role("button", name="中文").click()
    expect(page.locator(".views [aria-current=page]")).to_have_text("账号")
    expect(page).to_have_title("账号 · Project 4: agents")


def test_threads_have_addresses_and_a_history(page: Page, url: str, user: User) -> None:
    page.goto(url)
    sign_in(page, user)
    page.get_by_role("link", name="First").click()
    is_open(page, "First")
    page.get_by_role("link", name="Second").click()
    is_open(page, "Second")
    is_at(page, "Chat", "Chat", f"#/chat/{user.second}")

    page.go_back()
    is_open(page, "First")
    visit(page, "Documents")
    visit(page, "Chat")
    is_open(page, "First")
    is_at(page, "Chat", "Chat", f"#/chat/{user.first}")
    page.get_by_role("button", name="New thread").click()
    is_at(page, "Chat", "Chat", "#/chat")
    expect(page.locator(".thread[aria-current=page]")).to_have_count(0)
    page.go_back()
    is_open(page, "First")


@pytest.mark.parametrize("form", ["#/chat/{}", "#thread={}"], ids=["view", "earlier form"])
def test_link_to_a_thread_is_followed_after_the_sign_in(page: Page, url: str, user: User, form: str) -> None:
    page.goto(f"{url}/{form.format(user.first)}")
    expect(page.get_by_role("button", name="Sign in")).to_be_visible()
    expect(views(page)).to_be_hidden()

    sign_in(page, user)

    is_open(page, "First")
    is_at(page, "Chat", "Chat", f"#/chat/{user.first}")
    page.reload()
    is_open(page, "First")


def test_view_of_administrators_is_not_shown_to_others(page: Page, url: str, user: User) -> None:
    page.goto(f"{url}/#/administration")
    sign_in(page, user)

    expect(page.get_by_role("heading", name="Chat", exact=True)).to_be_focused()
    expect(views(page).get_by_role("link", name="Administration")).to_have_count(0)


def test_chat_fits_a_phone_and_its_threads_are_folded(page: Page, url: str, user: User) -> None:
    page.set_viewport_size({"width": 390, "height": 700})
    page.goto(url)
    sign_in(page, user)
    message = page.get_by_label("Message", exact=True)
    expect(message).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("button", name="Send")).to_be_in_viewport(ratio=1)
    expect(page.get_by_role("link", name="First")).to_be_hidden()

    page.get_by_text("Threads", exact=True).click()
    page.get_by_role("link", name="First").click()

    expect(page.get_by_role("link", name="First")).to_be_hidden()
    expect(message).to_be_in_viewport(ratio=1)
    assert page.url.endswith(f"#/chat/{user.first}")


def test_keyboard_skips_the_navigation(page: Page, url: str, user: User) -> None:
    page.goto(f"{url}/#/account")
    sign_in(page, user)
    page.reload()
    expect(page.get_by_role("button", name="Sign out", exact=True)).to_be_visible()
    skip = page.get_by_role("link", name="Skip to the content")

    page.keyboard.press("Tab")
    expect(skip).to_be_focused()
    page.keyboard.press("Enter")

    expect(page.get_by_role("main")).to_be_focused()
    assert page.url.endswith("#/account")


def test_account_page_manages_keys_password_and_sign_ins(refused_page: Page, url: str, user: User) -> None:
    page = refused_page
    page.goto(f"{url}#/account")
    sign_in(page, user)
    expect(page.get_by_label("API keys")).to_have_js_property("value", 0)
    page.get_by_label("Name of the key").fill("nightly job")
    page.get_by_role("button", name="Create a key").click()
    key = page.locator(".new-key code").inner_text()
    with httpx2.Client(base_url=url, headers={"X-Api-Key": key}, timeout=120, trust_env=False) as program:
        assert program.get("/auth/me").json()["email"] == user.email
        item = page.locator(".keys li", has_text="nightly job")
        expect(item).to_contain_text(f"{key[:12]}…")
        item.get_by_role("button", name="Delete").click()
        assert program.get("/auth/me").status_code == 200  # it asks first
        with page.expect_response("**/auth/api-keys/*"):
            item.get_by_role("button", name="Delete: programs").click()
        assert program.get("/auth/me").status_code == 401
    expect(page.get_by_text(key)).to_have_count(0)

    page.get_by_label("Current password").fill("not it")
    page.get_by_label("New password").fill("another long password")
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_text("This is not your current password.")).to_be_visible()
    page.get_by_label("Current password").fill(PASSWORD)
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_text("Changed. Your other sign-ins have ended.")).to_be_visible()
    page.get_by_role("button", name="Sign out everywhere").click()

    expect(views(page)).to_be_hidden()
    page.locator("#account-email").fill(user.email)
    page.locator("#account-password").fill("another long password")
    page.keyboard.press("Enter")
    expect(views(page)).to_be_visible()


def test_account_is_deleted_after_its_email_was_typed(page: Page, url: str, user: User) -> None:
    page.goto(f"{url}#/account")
    sign_in(page, user)
    page.get_by_text("Delete the account", exact=True).click()
    page.get_by_label("Type your e-mail").fill("somebody@example.com")
    page.get_by_role("button", name="Delete the account permanently").click()
    expect(page.get_by_text("This is not the e-mail of this account.")).to_be_visible()

    page.get_by_label("Type your e-mail").fill(user.email)
    page.get_by_role("button", name="Delete the account permanently").click()

    expect(views(page)).to_be_hidden()
    credentials = {"username": user.email, "password": PASSWORD}
    assert httpx2.post(f"{url}/auth/token", data=credentials, trust_env=False).status_code == 401
