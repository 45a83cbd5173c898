"""Stage 3's panel of the page, in a real browser, in front of the real service, its worker and a real PostgreSQL."""

import re
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, FilePayload, Locator, Page, expect

from tests.support.scripted_model import ScriptedModel, embeds, in_turn, until_released

pytestmark = pytest.mark.slow

Serve = Callable[..., AbstractContextManager[str]]
MARKUP = "<img src=x onerror=alert(1)>"
LEAVE = "Everyone has 25 days of paid leave."
HANDBOOK = f"# Handbook\n\n## Leave\n\nThe rules are simple. {LEAVE} They expire in March.\n"
DO_NOT_SAY = "The documents do not say."
DROP = """names => {
    const dropped = new DataTransfer();
    for (const name of names) dropped.items.add(new File([`The text of ${name}.`], name));
    return dropped;
}"""


@pytest.fixture(scope="module", autouse=True)
def _served(shared_url3: str) -> str:
    """Serve it before there is a browser: Alembic's environment runs an event loop, and so does playwright."""
    return shared_url3


@pytest.fixture
def url(url_without_documents: str) -> str:
    return url_without_documents


def file(name: str, content: str | bytes) -> FilePayload:
    data = content.encode() if isinstance(content, str) else content
    return {"name": name, "mimeType": "application/octet-stream", "buffer": data}


def opened(page: Page, url: str, title: str = "Ask your documents") -> Locator:
    page.goto(url)
    return page.locator(".panel", has=page.get_by_role("heading", name=title))


def choose(panel: Locator, *files: FilePayload) -> None:
    with panel.page.expect_file_chooser() as chooser:
        panel.get_by_role("button", name="Add documents").click()
    chooser.value.set_files(files)


def row(panel: Locator, name: str) -> Locator:
    return panel.get_by_role("listitem").filter(has_text=name)


def open_detail(panel: Locator, name: str) -> None:
    panel.get_by_role("link", name=name, exact=True).click()
    expect(panel.get_by_role("heading", name=name)).to_be_focused()


def ask(panel: Locator, question: str = "How many days of paid leave does everyone have?") -> None:
    panel.get_by_label("Question about the documents").fill(question)
    panel.get_by_label("Question about the documents").press("Control+Enter")


def answer_of(panel: Locator, heading: str = "Answer from the documents") -> Locator:
    return panel.get_by_role("heading", name=heading).locator("..")


def upload(url: str, name: str = "handbook.md", content: str = HANDBOOK) -> str:
    """Upload without the page; give the id."""
    files = {"file": (name, content.encode())}
    response = httpx2.post(f"{url}/documents", files=files, timeout=120, trust_env=False)
    return str(response.raise_for_status().json()["id"])


def upload_and_wait(url: str, name: str = "handbook.md", content: str = HANDBOOK) -> str:
    document_id = upload(url, name, content)
    events = httpx2.get(f"{url}/documents/{document_id}/events", timeout=120, trust_env=False).text
    assert "event: ready" in events
    return document_id


def documents(url: str) -> list[dict[str, Any]]:
    response = httpx2.get(f"{url}/documents", timeout=120, trust_env=False)
    found: list[dict[str, Any]] = response.raise_for_status().json()["items"]
    return found


def throttle_uploads(page: Page, bytes_per_second: int) -> None:
    conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": bytes_per_second}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", conditions)


def test_ingestion_progress_is_shown(page: Page, serve3: Serve, model: ScriptedModel) -> None:
    looked_on = threading.Event()
    model.embeds(in_turn(embeds(), embeds(), until_released(looked_on, embeds())))
    text = "".join(f"# Part {number}\n\nThis is what part {number} says.\n\n" for number in range(8))
    with serve3(embedding_batch_size=1) as url:
        panel = opened(page, url)
        expect(panel.get_by_text("There are no documents yet.")).to_be_visible()

        choose(panel, file("parts.md", text))

        bar = panel.get_by_role("progressbar", name="parts.md")
        expect(row(panel, "parts.md")).to_contain_text(re.compile(r"Being read: [1-9]\d %"))
        assert 0 < bar.evaluate("bar => bar.value") < 1
        looked_on.set()
        expect(row(panel, "parts.md")).to_contain_text("Ready · 8 passages")
        expect(bar).to_be_hidden()
        expect(panel.get_by_text("parts.md is ready.")).to_be_visible()
        expect(panel.get_by_text("There are no documents yet.")).to_be_hidden()
        open_detail(panel, "parts.md")
        with page.expect_download() as download:
            panel.get_by_role("button", name="Download").click()
        assert download.value.suggested_filename == "parts.md"
        assert download.value.path().read_text() == text


def test_upload_shows_progress_and_can_be_cancelled(page: Page, url: str) -> None:
    panel = opened(page, url)
    throttle_uploads(page, 200_000)

    choose(panel, file("slow.txt", b"slowly " * 200_000), file("next.txt", "This one is quick."))

    slow, quick = row(panel, "slow.txt"), row(panel, "next.txt")
    expect(slow).to_contain_text(re.compile(r"Uploading: [1-9]\d? % of 1.4 MB"))
    assert 0 < slow.get_by_role("progressbar").evaluate("bar => bar.value") < 1
    expect(quick).to_contain_text("Waiting to upload…")
    slow.get_by_role("button", name="Cancel").click()
    expect(panel.get_by_text("Upload of slow.txt cancelled.")).to_be_visible()
    expect(panel.get_by_role("button", name="Add documents")).to_be_focused()
    expect(quick).to_contain_text("Ready")
    expect(panel.get_by_role("listitem")).to_have_count(1)
    assert [document["filename"] for document in documents(url)] == ["next.txt"]


def test_dropped_files_are_uploaded(page: Page, url: str) -> None:
    panel = opened(page, url)
    dropped = page.evaluate_handle(DROP, ["one.txt", "two.txt"])

    panel.dispatch_event("dragover", {"dataTransfer": dropped})
    expect(panel).to_have_class(re.compile("dropping"))
    panel.dispatch_event("drop", {"dataTransfer": dropped})

    expect(panel).not_to_have_class(re.compile("dropping"))
    expect(panel.get_by_role("listitem")).to_contain_text(["two.txt", "one.txt"])  # the newest first
    expect(panel.get_by_text("Ready · 1 passage")).to_have_count(2)


def test_failed_document_shows_the_reason(page: Page, url: str) -> None:
    panel = opened(page, url)

    choose(panel, file("broken.pdf", b"%PDF-1.4\nnothing of the kind"))

    expect(row(panel, "broken.pdf")).to_contain_text("Could not be read")
    expect(row(panel, "broken.pdf")).to_contain_text("The PDF cannot be read")
    expect(panel.get_by_role("checkbox", name="broken.pdf")).to_be_disabled()


def test_repeated_content_is_reported(page: Page, url: str) -> None:
    upload_and_wait(url)
    panel = opened(page, url)

    choose(panel, file("copy.md", HANDBOOK))

    expect(row(panel, "copy.md")).to_contain_text("this content exists as handbook.md")
    row(panel, "copy.md").get_by_role("button", name="Dismiss").click()
    expect(panel.get_by_role("listitem")).to_contain_text(["handbook.md"])
    assert len(documents(url)) == 1


@pytest.mark.parametrize(
    ("name", "content", "sentence", "detail"),
    [
        ("program.exe", b"MZ\0\1", "Not uploaded: this file type is not supported.", "Supported formats: pdf, docx"),
        ("large.txt", b"x" * 2_000_000, "Not uploaded: the file is too large.", "The limit is"),
    ],
    ids=["415", "413"],
)
def test_unsupported_file_is_rejected(
    refused_page: Page, serve3: Serve, name: str, content: bytes, sentence: str, detail: str
) -> None:
    with serve3(max_upload_mb=1) as url:
        panel = opened(refused_page, url)

        choose(panel, file(name, content))

        expect(row(panel, name)).to_contain_text(sentence)
        expect(row(panel, name)).to_contain_text(detail)
        row(panel, name).get_by_role("button", name="Dismiss").click()
        expect(panel.get_by_role("listitem")).to_have_count(0)
        assert documents(url) == []


def test_failed_upload_can_be_retried(refused_page: Page, url: str) -> None:
    panel = opened(refused_page, url)
    refused_page.route("**/documents", lambda route: route.abort("connectionrefused"), times=1)
    choose(panel, file("handbook.md", HANDBOOK))
    expect(row(panel, "handbook.md").get_by_role("alert")).to_contain_text("The server cannot be reached.")

    row(panel, "handbook.md").get_by_role("button", name="Try again").click()

    expect(row(panel, "handbook.md")).to_contain_text("Ready")
    expect(panel.get_by_role("alert")).to_have_count(0)


def test_ongoing_ingestion_is_shown_on_load(page: Page, url: str, model: ScriptedModel) -> None:
    opened_it = threading.Event()
    model.embeds(until_released(opened_it, embeds()))
    upload(url)

    panel = opened(page, url)

    expect(row(panel, "handbook.md")).to_contain_text("Being read")
    opened_it.set()
    expect(row(panel, "handbook.md")).to_contain_text("Ready · 1 passage")


def test_broken_connection_is_reopened(refused_page: Page, url: str, model: ScriptedModel) -> None:
    broken = threading.Event()
    model.embeds(until_released(broken, embeds()))
    upload(url)
    refused_page.route("**/events", lambda route: route.abort("connectionreset"), times=1)

    with refused_page.expect_event("requestfailed", lambda request: request.url.endswith("/events")):
        panel = opened(refused_page, url)
    broken.set()

    expect(row(panel, "handbook.md")).to_contain_text("Ready · 1 passage")


def test_older_documents_load_on_demand(page: Page, url: str) -> None:
    for number in range(11):
        upload(url, f"file{number:02}.txt", f"This is file {number}.")
    panel = opened(page, url)
    rows = panel.get_by_role("listitem")
    newest = [f"file{number:02}.txt" for number in range(10, 0, -1)]
    expect(rows).to_contain_text(newest)

    panel.get_by_role("button", name="More documents").click()

    expect(rows).to_contain_text([*newest, "file00.txt"])
    expect(rows.last.get_by_text("file00.txt")).to_be_focused()
    expect(panel.get_by_role("button", name="More documents")).to_be_hidden()


def test_deletion_requires_confirmation(page: Page, url: str) -> None:
    upload_and_wait(url)
    panel = opened(page, url)
    open_detail(panel, "handbook.md")

    panel.get_by_role("button", name="Delete", exact=True).click()
    expect(panel.get_by_role("group", name="Delete handbook.md? This cannot be undone.")).to_be_visible()
    expect(panel.get_by_role("button", name="Cancel")).to_be_focused()
    panel.get_by_role("button", name="Cancel").click()
    expect(panel.get_by_role("button", name="Delete", exact=True)).to_be_focused()
    assert len(documents(url)) == 1
    panel.get_by_role("button", name="Delete", exact=True).click()
    panel.get_by_role("button", name="Delete permanently").click()

    expect(panel.get_by_text("handbook.md was deleted.")).to_be_visible()
    expect(panel.get_by_text("There are no documents yet.")).to_be_visible()
    expect(panel.get_by_role("heading", name="Documents", exact=True)).to_be_focused()
    assert documents(url) == []


def test_document_deleted_elsewhere_disappears(page: Page, url: str, model: ScriptedModel) -> None:
    model.embeds(until_released(deleted := threading.Event(), embeds()))
    document_id = upload(url)
    panel = opened(page, url)
    expect(row(panel, "handbook.md")).to_contain_text("Being read")

    httpx2.delete(f"{url}/documents/{document_id}", timeout=120, trust_env=False).raise_for_status()

    expect(panel.get_by_text("There are no documents yet.")).to_be_visible()
    deleted.set()


def test_citation_opens_the_passage(page: Page, url: str, model: ScriptedModel) -> None:
    upload_and_wait(url)
    seen = threading.Event()
    model.says(f"{LEAVE} [1] " + " ".join(f"word{number}" for number in range(20)), last_word_after=seen)
    panel = opened(page, url)

    ask(panel)

    answer = answer_of(panel)
    expect(answer).to_contain_text("word18")
    assert "word19" not in answer.inner_text()
    seen.set()
    expect(answer.get_by_role("status")).to_have_text("Done. 1 passage is cited.")
    passage = answer.get_by_role("listitem")
    expect(passage).to_contain_text("[1] handbook.md · Handbook > Leave")
    expect(passage.get_by_text("They expire in March.")).to_be_hidden()
    marker = answer.get_by_role("link", name="[1]")
    marker.press("Enter")
    expect(passage.get_by_text("They expire in March.")).to_be_visible()
    expect(passage.locator("mark")).to_have_text([LEAVE])
    expect(passage.locator("summary")).to_be_focused()
    assert page.url == f"{url}/"
    passage.get_by_role("button", name="Back to the answer").click()
    expect(marker).to_be_focused()


def test_citation_shows_the_text_around_the_passage(page: Page, url: str, model: ScriptedModel) -> None:
    parts = [f"# Part {number}\n\nThe {word} part is about leave.\n" for number, word in enumerate(["first", "second"])]
    upload_and_wait(url, "parts.md", "\n".join(parts))
    model.says("The first part is about leave. [1]")
    panel = opened(page, url)
    ask(panel, "What is the first part about?")

    passage = answer_of(panel).get_by_role("listitem")
    answer_of(panel).get_by_role("link", name="[1]").click()
    passage.get_by_role("button", name="Show the text around it").click()

    expect(passage).to_contain_text("The second part is about leave.")
    expect(passage.get_by_role("button", name="Show the text around it")).to_be_hidden()
    expect(passage.locator("summary")).to_be_focused()


def test_documents_are_searched_by_name(page: Page, url: str) -> None:
    for number in range(12):
        upload(url, f"file{number:02}.txt", f"This is file {number}.")
    panel = opened(page, url)
    expect(panel.get_by_role("listitem")).to_have_count(10)

    panel.get_by_label("Search by name").fill("FILE00")
    expect(panel.get_by_role("listitem")).to_contain_text(["file00.txt"])
    expect(panel.get_by_role("listitem")).to_have_count(1)
    panel.get_by_label("Search by name").fill("nothing")
    expect(panel.get_by_text("No document has this name.")).to_be_visible()
    panel.get_by_label("Search by name").fill("")

    expect(panel.get_by_role("listitem")).to_have_count(11)


@pytest.mark.parametrize(("width", "beside"), [(1400, True), (360, False)])
def test_answer_is_near_the_question(page: Page, url: str, model: ScriptedModel, width: int, beside: bool) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    upload_and_wait(url)
    model.says(f"{LEAVE} [1]")
    panel = opened(page, url)
    ask(panel)
    expect(answer_of(panel).get_by_role("status")).to_contain_text("1 passage is cited.")

    question = panel.get_by_label("Question about the documents").bounding_box()
    answer = answer_of(panel).bounding_box()
    files = panel.get_by_role("button", name="Add documents").bounding_box()

    assert question is not None
    assert answer is not None
    assert files is not None
    assert (answer["x"] >= question["x"] + question["width"]) is beside
    assert files["y"] > answer["y"] > 0
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_passage_can_be_opened_during_the_answer(page: Page, url: str, model: ScriptedModel) -> None:
    upload_and_wait(url)
    model.says(f"{LEAVE} [1] " + "and so on " * 200, tokens_per_second=10)
    panel = opened(page, url)
    ask(panel)

    answer_of(panel).get_by_role("link", name="[1]").click()

    expect(answer_of(panel).get_by_role("listitem").get_by_text("They expire in March.")).to_be_visible()
    panel.get_by_role("button", name="Stop").click()
    expect(answer_of(panel).get_by_role("status")).to_have_text("Stopped. The answer is not complete.")
    expect(panel.get_by_role("button", name="Ask the documents")).to_be_focused()
    assert model.requests[-1].finished.wait(120)
    assert model.requests[-1].cancelled


def test_question_uses_selected_documents_only(page: Page, url: str, model: ScriptedModel) -> None:
    upload_and_wait(url)
    chosen = upload_and_wait(url, "menu.md", "# Menu\n\nThere is soup on Monday.\n")
    model.says(DO_NOT_SAY)
    panel = opened(page, url)
    panel.get_by_role("checkbox", name="menu.md").check()
    expect(panel.get_by_text("Only the 1 ticked document will be searched.")).to_be_visible()

    with page.expect_request("**/documents/ask/stream") as narrow:
        ask(panel, "Is there leave?")
    expect(answer_of(panel, "No answer in the documents")).to_contain_text("Only the ticked documents were searched.")
    panel.get_by_role("checkbox", name="menu.md").uncheck()
    panel.get_by_role("button", name="New conversation").click()
    expect(panel.get_by_label("Question about the documents")).to_be_focused()
    # Up to its end: a service that stops in mid-answer would leave an error on the console.
    with page.expect_request_finished(lambda request: request.url.endswith("/documents/ask/stream")) as wide:
        ask(panel, "Is there leave?")

    question = {"question": "Is there leave?", "reasoning": True}
    assert narrow.value.post_data_json == question | {"document_ids": [chosen]}
    assert wide.value.post_data_json == question


def test_reasoning_is_folded_above_the_answer(page: Page, url: str, model: ScriptedModel) -> None:
    upload_and_wait(url)
    model.says(f"<think>The handbook says it.</think>{LEAVE} [1]")
    panel = opened(page, url)

    ask(panel)

    reasoning = answer_of(panel).get_by_text("The handbook says it.")
    expect(answer_of(panel).locator("> .answer")).to_have_text(f"{LEAVE} [1]")
    expect(reasoning).to_be_hidden()
    answer_of(panel).get_by_text("Reasoning").click()
    expect(reasoning).to_be_visible()


def test_unanswered_question_looks_different(page: Page, url: str, model: ScriptedModel) -> None:
    upload_and_wait(url)
    model.says(f"{LEAVE} [1]")
    panel = opened(page, url)
    ask(panel)
    body = answer_of(panel).locator("> .answer")
    expect(answer_of(panel).get_by_role("status")).to_contain_text("1 passage is cited.")
    style = "body => getComputedStyle(body).borderTopStyle"
    assert body.evaluate(style) == "none"

    model.says("The king of France is bald, I believe.")
    ask(panel, "Who is the king of France?")

    unanswered = answer_of(panel, "No answer in the documents")
    expect(unanswered.locator("> .answer")).to_have_text(DO_NOT_SAY)
    assert unanswered.locator("> .answer").evaluate(style) == "dashed"
    expect(unanswered.get_by_role("listitem")).to_have_count(0)
    expect(panel.get_by_role("heading", name="Answer from the documents")).to_have_count(0)


def test_error_in_mid_stream_keeps_the_text(page: Page, url: str, model: ScriptedModel) -> None:
    upload_and_wait(url)
    panel = opened(page, url)
    half = (
        'event: sources\ndata: {"sources": []}\n\nevent: token\ndata: {"text": "Half a [7"}\n\n'
        'event: error\ndata: {"type": "urn:problem:model-timeout", "status": 504, "detail": "Too slow."}\n\n'
    )
    stream = {"content_type": "text/event-stream", "body": half}
    page.route("**/documents/ask/stream", lambda route: route.fulfill(**stream), times=1)

    ask(panel)

    expect(answer_of(panel).get_by_role("alert")).to_have_text("The answer took too long.")
    expect(answer_of(panel).locator("> .answer")).to_have_text("Half a [7")
    model.says(f"{LEAVE} [1]")
    answer_of(panel).get_by_role("button", name="Try again").click()
    expect(answer_of(panel).locator("> .answer")).to_have_text(f"{LEAVE} [1]")
    expect(panel.get_by_role("alert")).to_have_count(0)


def test_blank_question_is_not_sent(page: Page, url: str, model: ScriptedModel) -> None:
    panel = opened(page, url)

    ask(panel, " \n ")

    expect(panel.get_by_text("Please write a question first.")).to_be_visible()
    expect(panel.get_by_label("Question about the documents")).to_be_focused()
    assert model.requests == []


def test_markup_stays_text_and_a_phone_does_not_scroll_sideways(page: Page, url: str, model: ScriptedModel) -> None:
    page.set_viewport_size({"width": 320, "height": 640})
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    name = MARKUP + "n" * 100 + ".txt"
    text = f"Here is `{MARKUP}` and leave {'unbreakable' * 50}."
    panel = opened(page, url)
    choose(panel, file(name, text))
    expect(row(panel, name)).to_contain_text("Ready")
    model.says(f"{MARKUP} {'unbreakable' * 50} [1]")

    ask(panel, f"Is there {MARKUP} leave?")

    answer = answer_of(panel)
    expect(answer.get_by_role("status")).to_have_text("Done. 1 passage is cited.")
    expect(answer.locator("> .answer")).to_have_text(f"{MARKUP} {'unbreakable' * 50} [1]")
    answer.get_by_role("link", name="[1]").click()
    expect(answer.get_by_role("listitem").locator(".answer")).to_contain_text(text)
    expect(answer.get_by_role("listitem").locator("mark")).to_contain_text(MARKUP)
    open_detail(panel, name)
    panel.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("main img")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_page_is_available_in_chinese(browser: Browser, url: str, model: ScriptedModel) -> None:
    model.says("每人每年有二十五天带薪年假。[1]")
    with browser.new_context(locale="zh-CN") as context:
        page = context.new_page()
        panel = opened(page, url, "向文档提问")
        panel.locator("input[type=file]").set_input_files([file("手册.md", "# 假期\n\n每人每年有二十五天带薪年假。\n")])
        expect(row(panel, "手册.md")).to_contain_text("可提问 · 1 个段落")

        panel.get_by_label("关于文档的问题").fill("每人每年有几天带薪年假？")
        panel.get_by_role("button", name="向文档提问").click()

        expect(answer_of(panel, "来自文档的回答").get_by_role("status")).to_have_text("回答完毕，引用了 1 个段落。")
        page.get_by_role("button", name="English").click()
        panel = page.locator(".panel", has=page.get_by_role("heading", name="Ask your documents"))
        expect(answer_of(panel).get_by_role("status")).to_have_text("Done. 1 passage is cited.")
        expect(row(panel, "手册.md").last).to_contain_text("Ready · 1 passage")
