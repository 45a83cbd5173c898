"""Stage 2's panel of the page, in a real browser, in front of the real service and a real PostgreSQL."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import httpx2
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.support.scripted_model import ScriptedModel, says, until_released

pytestmark = pytest.mark.slow

Serve = Callable[..., AbstractContextManager[str]]
MARKUP = "<img src=x onerror=alert(1)>"


@pytest.fixture
def url(serve2: Serve) -> Iterator[str]:
    with serve2() as url:
        yield url


def add_user(url: str, name: str, email: str = "ada@example.com") -> str:
    body = {"email": email, "name": name, "password": "correct horse"}
    return str(httpx2.post(f"{url}/users", json=body, timeout=120, trust_env=False).raise_for_status().json()["id"])


def opened(page: Page, url: str, name: str) -> Locator:
    page.goto(url)
    panel = panel_of(page)
    panel.get_by_role("button", name=name).click()
    expect(panel.get_by_role("heading", name=name)).to_be_focused()
    return panel


def panel_of(page: Page) -> Locator:
    return page.locator(".panel", has=page.get_by_role("heading", name="Users and their conversations"))


def create(panel: Locator, email: str) -> None:
    panel.get_by_text("Create a user").click()
    panel.get_by_label("E-mail", exact=True).fill(email)
    panel.get_by_label("Name", exact=True).fill("Ada Lovelace")
    panel.get_by_label("Password").fill("correct horse")
    panel.get_by_role("button", name="Create", exact=True).click()


def send(panel: Locator, text: str) -> None:
    panel.get_by_label("Message").fill(text)
    panel.get_by_label("Message").press("Control+Enter")


def test_new_user_is_listed(page: Page, url: str) -> None:
    page.goto(url)
    expect(panel_of(page).get_by_text("There are no users yet.")).to_be_visible()

    create(panel_of(page), "ada@example.com")

    expect(panel_of(page).get_by_role("listitem")).to_have_text(["Ada Lovelace ada@example.com"])
    expect(panel_of(page).get_by_text("Ada Lovelace was created.")).to_be_visible()


@pytest.mark.parametrize(
    ("email", "sentence"),
    [("ADA@example.com", "There is a user with this e-mail already."), ("ada@x", "Not accepted: is not an e-mail")],
    ids=["taken", "refused"],
)
def test_validation_errors_appear_at_their_field(refused_page: Page, url: str, email: str, sentence: str) -> None:
    add_user(url, "Ada")
    refused_page.goto(url)

    create(panel_of(refused_page), email)

    field = panel_of(refused_page).get_by_label("E-mail", exact=True)
    expect(field).to_be_focused()
    expect(field).to_have_accessible_description(re.compile(sentence))


def test_conversation_grows_and_is_stored(page: Page, url: str, model: ScriptedModel) -> None:
    add_user(url, "Ada")
    panel = opened(page, url, "Ada")
    expect(panel.get_by_text("No messages yet.")).to_be_visible()
    answered = threading.Event()
    model.does(until_released(answered, says("Hello, Ada!")))

    send(panel, "Hi")

    expect(panel.get_by_text("Waiting for the model…")).to_be_visible()
    expect(panel.locator(".answer")).to_have_text(["Hi"])
    answered.set()
    expect(panel.get_by_role("log").locator(".answer")).to_have_text(["Hi", "Hello, Ada!"])
    send(panel, "And?")
    expect(panel.locator(".answer")).to_have_text(["Hi", "Hello, Ada!", "And?", "Hello, Ada!"])
    panel = opened(page, url, "Ada")
    expect(panel.locator(".answer")).to_have_text(["Hi", "Hello, Ada!", "And?", "Hello, Ada!"])


def test_earlier_messages_load_on_demand(page: Page, url: str) -> None:
    user_id = add_user(url, "Ada")
    for number in range(11):
        body = {"content": f"Question {number}"}
        httpx2.post(f"{url}/users/{user_id}/messages", json=body, timeout=120, trust_env=False).raise_for_status()
    panel = opened(page, url, "Ada")
    expect(panel.locator(".user .answer")).to_have_text([f"Question {number}" for number in range(1, 11)])

    panel.get_by_role("button", name="Earlier messages").click()

    expect(panel.locator(".user .answer")).to_have_text([f"Question {number}" for number in range(11)])
    expect(panel.get_by_role("button", name="Earlier messages")).to_be_hidden()


def test_failed_model_keeps_the_text(refused_page: Page, url: str, model: ScriptedModel) -> None:
    add_user(url, "Ada")
    panel = opened(refused_page, url, "Ada")
    refused_page.clock.install()
    model.fails(status=500)

    send(panel, "Are you there?")

    expect(panel.get_by_text("nothing was stored")).to_be_visible()
    expect(panel.get_by_label("Message")).to_have_value("Are you there?")
    expect(panel.locator(".answer")).to_have_count(0)
    model.says("Back again")
    refused_page.clock.run_for(6_000)
    panel.get_by_role("button", name="Try again").click()
    expect(panel.locator(".answer")).to_have_text(["Are you there?", "Back again"])


def test_concurrent_rename_is_a_conflict(refused_page: Page, url: str) -> None:
    user_id = add_user(url, "Ada")
    panel = opened(refused_page, url, "Ada")
    httpx2.patch(f"{url}/users/{user_id}", json={"name": "Countess"}, timeout=120, trust_env=False).raise_for_status()
    panel.get_by_role("button", name="Rename").click()
    panel.get_by_label("New name").fill("Augusta")

    panel.get_by_role("button", name="Save").click()

    expect(panel.get_by_role("alert")).to_contain_text("Another person has changed this user in the meantime")
    expect(panel.get_by_role("heading", name="Countess")).to_be_visible()
    panel.get_by_role("button", name="Save").click()
    expect(panel.get_by_role("heading", name="Augusta")).to_be_visible()


def test_deletion_requires_confirmation(page: Page, url: str) -> None:
    add_user(url, "Ada")
    panel = opened(page, url, "Ada")

    panel.get_by_role("button", name="Delete").click()
    expect(panel.get_by_role("group")).to_contain_text("Delete Ada and the whole conversation?")
    panel.get_by_role("button", name="Cancel").click()
    expect(panel.get_by_role("heading", name="Ada")).to_be_visible()
    panel.get_by_role("button", name="Delete").click()
    panel.get_by_role("button", name="Delete permanently").click()

    expect(panel.get_by_text("There are no users yet.")).to_be_visible()


def test_users_are_searched_and_loaded_on_demand(page: Page, url: str) -> None:
    for number in range(21):
        add_user(url, f"Person {number:02}", f"p{number}@example.com")
    page.goto(url)
    rows = panel_of(page).get_by_role("listitem")
    expect(rows).to_have_count(20)
    panel_of(page).get_by_role("button", name="More users").click()
    expect(rows).to_have_count(21)
    expect(rows.last.get_by_role("button")).to_be_focused()

    panel_of(page).get_by_label("Find a user").fill("person 1")
    expect(rows).to_have_count(10)
    panel_of(page).get_by_label("Find a user").fill("P20@")
    expect(rows).to_have_text(["Person 20 p20@example.com"])


def test_markup_stays_text_and_a_phone_does_not_scroll_sideways(page: Page, url: str, model: ScriptedModel) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    name = MARKUP + "x" * 70
    add_user(url, name)
    model.says(MARKUP + "unbreakable" * 50)
    panel = opened(page, url, name)

    send(panel, MARKUP)

    expect(panel.locator(".answer")).to_have_text([MARKUP, MARKUP + "unbreakable" * 50])
    expect(page.locator("main img")).to_have_count(0)
    panel.get_by_role("button", name="Delete").click()
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
