"""The page at `/`, in a real browser, in front of the real service."""

import re
import threading
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.support.scripted_model import ScriptedModel

pytestmark = pytest.mark.slow

PARSE = """async ([text, size]) => {
    const { parseEvents } = await import(new URL("page/shared/sse.js", document.baseURI));
    async function* chunks() {
        const bytes = new TextEncoder().encode(text);
        for (let start = 0; start < bytes.length; start += size) yield bytes.subarray(start, start + size);
    }
    const events = [];
    for await (const event of parseEvents(chunks())) events.push(event);
    return events;
}"""


def ask(page: Page, question: str) -> None:
    page.get_by_label("Your question").fill(question)
    page.get_by_role("button", name="Ask").click()


def answer_of(page: Page) -> Locator:
    return page.get_by_role("heading", name="Answer", exact=True).locator("..")


def brightness(page: Page) -> int:
    return sum(map(int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))))


def test_answer_grows_while_it_streams(page: Page, patient_url: str, model: ScriptedModel) -> None:
    text = " ".join(f"word{number}" for number in range(30))
    seen = threading.Event()
    model.says(text, last_word_after=seen)
    page.goto(patient_url)

    ask(page, "Count")

    expect(answer_of(page)).to_contain_text("word28")
    assert "word29" not in answer_of(page).inner_text()
    expect(page.get_by_role("button", name="Stop")).to_be_visible()
    seen.set()
    expect(answer_of(page)).to_contain_text(text)
    expect(page.get_by_role("status")).to_have_text("Done.")
    facts: list[str | re.Pattern[str]] = ["scripted-model", "7", "30", re.compile(r"[\d,]+ ms")]
    expect(answer_of(page).get_by_role("definition")).to_have_text(facts)
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()


def test_stop_button_stops_the_model(page: Page, app_url: str, model: ScriptedModel) -> None:
    model.says("and so on " * 200, tokens_per_second=10)
    page.goto(app_url)
    ask(page, "Go on")
    expect(answer_of(page)).to_contain_text("and so on")

    page.get_by_role("button", name="Stop").click()

    expect(page.get_by_role("status")).to_have_text("Stopped. The answer is not complete.")
    expect(answer_of(page)).to_contain_text("and so on")
    assert model.requests[0].finished.wait(120)
    assert model.requests[0].cancelled
    expect(page.get_by_role("button", name="Ask")).to_be_enabled()


def test_only_filled_fields_are_sent(page: Page, app_url: str) -> None:
    page.goto(app_url)
    page.get_by_text("Options").click()
    page.get_by_label("Temperature").fill("0.5")
    longest = "\N{GRINNING FACE}" * 4000
    page.get_by_label("Your question").fill(longest)

    with page.expect_request("**/ask/stream") as sent:
        page.keyboard.press("Control+Enter")

    assert sent.value.post_data_json == {"question": longest, "temperature": 0.5, "reasoning": True}
    expect(page.get_by_role("status")).to_have_text("Done.")


def test_reasoning_is_folded_above_the_answer(page: Page, app_url: str, model: ScriptedModel) -> None:
    model.says("<think>Let me <b>see</b>.</think>It is 42.")
    page.goto(app_url)

    ask(page, "Six times seven?")

    expect(answer_of(page).locator("> .answer")).to_have_text("It is 42.")
    reasoning = answer_of(page).get_by_text("Let me <b>see</b>.")
    expect(reasoning).to_be_hidden()
    answer_of(page).get_by_text("Reasoning").click()
    expect(reasoning).to_be_visible()

    model.says("It is 43.")
    ask(page, "And one more?")
    expect(answer_of(page).locator("> .answer")).to_have_text("It is 43.")
    expect(answer_of(page).get_by_text("Reasoning")).to_be_hidden()


def test_unavailable_model_is_reported(refused_page: Page, app_url: str, model: ScriptedModel) -> None:
    page = refused_page
    page.clock.install(time=0)
    model.fails(status=500)
    page.goto(app_url)
    page.clock.pause_at(3600)  # from here on it continues when the test lets it

    ask(page, "Hi")

    expect(page.get_by_role("alert")).to_have_text("The service cannot answer right now.")
    retry = page.get_by_role("button", name="Try again")
    expect(retry).to_have_text("Try again in 5 s")
    expect(retry).to_be_disabled()
    assert re.search("Request ID [0-9a-f]{32}", answer_of(page).inner_text())

    page.clock.run_for(2_000)
    expect(retry).to_have_text("Try again in 3 s")
    page.clock.run_for(3_000)
    model.says("Back again")
    retry.click()
    expect(answer_of(page)).to_contain_text("Back again")
    expect(page.get_by_role("alert")).to_have_count(0)


def test_error_in_mid_stream_keeps_the_text(page: Page, app_url: str, model: ScriptedModel) -> None:
    model.resets_after(3)
    page.goto(app_url)

    ask(page, "Hi")

    expect(page.get_by_role("alert")).to_have_text("The service cannot answer right now.")
    expect(answer_of(page)).to_contain_text("token0 token1 token2")


def test_stream_without_an_end_is_reported(page: Page, app_url: str) -> None:
    half = 'event: token\ndata: {"text": "Half a"}\n\n'
    page.route("**/ask/stream", lambda route: route.fulfill(content_type="text/event-stream", body=half))
    page.goto(app_url)

    ask(page, "Hi")

    expect(page.get_by_role("alert")).to_have_text("The connection was cut before the answer was complete.")
    expect(answer_of(page)).to_contain_text("Half a")


def test_unavailable_server_is_reported(refused_page: Page, app_url: str) -> None:
    refused_page.goto(app_url)
    refused_page.route("**/ask/stream", lambda route: route.abort("connectionrefused"))

    ask(refused_page, "Hi")

    expect(refused_page.get_by_role("alert")).to_contain_text("The server cannot be reached.")


@pytest.mark.parametrize(
    ("question", "message"),
    [
        (" \n ", "Please write a question first."),
        ("\N{GRINNING FACE}" * 4001, "Too long by 1. The limit is 4,000 characters."),
    ],
    ids=["blank", "too long"],
)
def test_invalid_input_is_not_sent(page: Page, app_url: str, model: ScriptedModel, question: str, message: str) -> None:
    page.goto(app_url)

    ask(page, question)

    expect(page.get_by_text(message)).to_be_visible()
    expect(page.get_by_label("Your question")).to_be_focused()
    assert model.requests == []


def test_markup_in_an_answer_stays_text(page: Page, app_url: str, model: ScriptedModel) -> None:
    markup = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    model.says(markup)
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    page.goto(app_url)

    ask(page, markup)

    expect(answer_of(page)).to_contain_text(markup)
    expect(page.get_by_role("listitem").first).to_contain_text(markup)
    expect(page.locator("main").locator("img, script")).to_have_count(0)


def test_history_is_listed(page: Page, app_url: str, model: ScriptedModel) -> None:
    question = f"Is {uuid4()} a good name?"
    model.says("It is unique.")
    page.goto(app_url)

    ask(page, question)

    newest = page.get_by_role("listitem").first
    expect(newest).to_contain_text(question)
    newest.get_by_text(question).click()
    expect(newest.get_by_text("It is unique.")).to_be_visible()
    page.reload()
    expect(newest).to_contain_text(question)


def test_empty_history_shows_a_message(page: Page, app_url: str) -> None:
    page.route("**/ask/history", lambda route: route.fulfill(json={"items": []}))
    page.goto(app_url)

    expect(page.get_by_text("Nothing yet.")).to_be_visible()


def test_language_choice_is_stored(page: Page, app_url: str) -> None:
    page.goto(app_url)
    expect(page.locator("html")).to_have_attribute("lang", "en")

    page.get_by_role("button", name="中文").click()

    expect(page.locator("html")).to_have_attribute("lang", "zh")
    expect(page.get_by_label("你的问题")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="提问")).to_be_visible()
    expect(page.get_by_role("button", name="中文")).to_have_attribute("aria-pressed", "true")


def test_page_fits_a_phone(page: Page, app_url: str, model: ScriptedModel) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    model.says("unbreakable" * 50)
    page.goto(app_url)

    ask(page, "unbreakable" * 50)

    expect(page.get_by_role("status")).to_have_text("Done.")
    expect(page.get_by_role("listitem").first).to_contain_text("unbreakable")
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_page_follows_the_browsers_language_and_theme(browser: Browser, app_url: str) -> None:
    with browser.new_context(locale="zh-CN", color_scheme="dark") as context:
        page = context.new_page()
        page.goto(app_url)

        expect(page.get_by_role("button", name="提问")).to_be_visible()
        assert brightness(page) < 150
        page.emulate_media(color_scheme="light")
        assert brightness(page) > 600


def test_documentation_is_linked(page: Page, app_url: str) -> None:
    page.goto(app_url)

    page.get_by_role("link", name="API documentation").click()

    expect(page.get_by_text("/ask/stream", exact=True)).to_be_visible()


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_events_are_parsed_across_chunk_boundaries(page: Page, app_url: str, newline: str) -> None:
    comment, unfinished = [": ping", ""], ["data: cut off"]
    token = ["event: token", 'data: {"text":', 'data:  "你好 👩‍👩‍👧"}', ""]
    message = ["id: 7", "data:1", ""]
    stream = newline.join(comment + token + message + unfinished)
    page.goto(app_url)

    for size in (1, 2, 3, 7, 1000):
        events = page.evaluate(PARSE, [stream, size])
        assert events == [
            {"event": "token", "data": {"text": "你好 👩‍👩‍👧"}, "id": ""},
            {"event": "message", "data": 1, "id": "7"},
        ]
