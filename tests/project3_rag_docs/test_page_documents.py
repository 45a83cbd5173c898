"""The list and the detail view of documents on the page, in a real browser."""

import re
import threading
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, FilePayload, Locator, Page, Request, expect

from tests.support import pdf_files
from tests.support.scripted_model import ScriptedModel, embeds, until_released

pytestmark = pytest.mark.slow

FOLDER = """() => {
    const file = (path, text) => ({
        isDirectory: false, fullPath: path, file: (resolve) => resolve(new File([text], path.split("/").pop())),
    });
    const folder = (path, entries) => ({
        isDirectory: true, fullPath: path,
        createReader: () => ({ readEntries: (resolve) => resolve(entries.splice(0)) }),
    });
    const entry = folder("/birds", [
        file("/birds/.DS_Store", "x"),
        file("/birds/photo.jpg", "x"),
        folder("/birds/water", [file("/birds/water/heron.txt", "The heron nests in the oak.")]),
    ]);
    const dropped = new DataTransfer();
    dropped.items.add(new File(["x"], "birds"));
    DataTransferItem.prototype.webkitGetAsEntry = () => entry;
    return dropped;
}"""


@pytest.fixture(scope="module", autouse=True)
def _served(shared_url3: str) -> str:
    """Serve it before there is a browser: Alembic's environment runs an event loop, and so does playwright."""
    return shared_url3


@pytest.fixture
def url(url_without_documents: str) -> str:
    return url_without_documents


def api(method: str, url: str, **options: Any) -> Any:  # noqa: ANN401  any JSON
    response = httpx2.request(method, url, timeout=120, trust_env=False, **options)
    return response.raise_for_status().json()


def upload(url: str, name: str, content: bytes, *, wait: bool = True) -> str:
    document_id = str(api("POST", f"{url}/documents", files={"file": (name, content)})["id"])
    if wait:
        httpx2.get(f"{url}/documents/{document_id}/events", timeout=120, trust_env=False)
    return document_id


def opened(page: Page, url: str, title: str = "Ask your documents") -> Locator:
    page.goto(url)
    return page.locator(".panel", has=page.get_by_role("heading", name=title))


def ask(panel: Locator, question: str) -> None:
    panel.get_by_label("Question about the documents").fill(question)
    panel.get_by_label("Question about the documents").press("Control+Enter")


def sent(request: Request) -> dict[str, Any]:
    """Return the body of a request."""
    body: dict[str, Any] = request.post_data_json or {}
    return body


def pdf(path: Path, *pages: str) -> bytes:
    contents = [pdf_files.texts([(50, 700, text)], size=12) for text in pages]
    return pdf_files.write(path / "a.pdf", contents).read_bytes()


def expect_drawn(picture: Locator) -> None:
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 1240


def test_citation_shows_the_page_of_a_pdf(page: Page, url: str, model: ScriptedModel, tmp_path: Path) -> None:
    document_id = upload(url, "birds.pdf", pdf(tmp_path, "Contents.", "The heron nests in the oak. It eats fish."))
    model.says("The heron nests in the oak. [1]")
    panel = opened(page, url)
    ask(panel, "Where does the heron nest?")
    expect(panel.get_by_text("Done. 1 passage is cited.")).to_be_visible()

    with page.expect_request("**/pages/2.png?*") as drawing:
        panel.get_by_role("link", name="[1]").click()

    assert re.search(r"\?chunk_id=[0-9a-f-]{36}&start=0&end=27$", drawing.value.url)
    expect_drawn(panel.get_by_role("img", name="Page 2"))
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")

    panel.get_by_role("link", name="Open the document").click()
    expect(panel.get_by_role("heading", name="birds.pdf")).to_be_focused()
    assert page.url == f"{url}/#/documents/{document_id}/2"
    expect_drawn(panel.locator(".detail").get_by_role("img", name="Page 2"))
    panel.get_by_role("button", name="Previous page").click()
    expect_drawn(panel.locator(".detail").get_by_role("img", name="Page 1"))
    assert page.url == f"{url}/#/documents/{document_id}/1"


def test_detail_view_has_an_address(page: Page, url: str, model: ScriptedModel) -> None:
    document_id = upload(url, "birds.md", b"# Herons\n\nThe heron nests in the oak.\n")
    panel = opened(page, f"{url}/#/documents/{document_id}")
    expect(panel.get_by_role("heading", name="birds.md")).to_be_visible()
    expect(panel.locator(".detail .text")).to_contain_text("HeronsThe heron nests in the oak.")
    expect(panel.get_by_role("button", name="Add documents")).to_be_hidden()
    model.says("The documents do not say.")

    with page.expect_request("**/documents/ask/stream") as asked:
        ask(panel, "Where does it nest?")
    assert sent(asked.value)["document_ids"] == [document_id]
    expect(panel.get_by_text("Done. Only birds.md was searched.")).to_be_visible()
    panel.get_by_role("link", name="All documents").press("Enter")
    expect(panel.get_by_role("link", name="birds.md")).to_be_focused()
    page.go_back()
    expect(panel.get_by_role("heading", name="birds.md")).to_be_focused()
    page.go_forward()
    expect(panel.get_by_role("button", name="Add documents")).to_be_visible()


def test_unknown_document_is_reported(refused_page: Page, url: str) -> None:
    panel = opened(refused_page, f"{url}/#/documents/01900000-0000-7000-8000-000000000000")

    expect(panel.get_by_role("alert")).to_have_text("This does not exist, or was deleted.")
    panel.get_by_role("link", name="All documents").click()
    expect(panel.get_by_text("There are no documents yet.")).to_be_visible()


def test_document_is_edited_and_found_by_its_properties(page: Page, url: str, model: ScriptedModel) -> None:
    upload(url, "birds.md", b"The heron nests in the oak.")
    upload(url, "other.md", b"The otter sleeps in the holt.")
    panel = opened(page, url)
    panel.get_by_text("Manage collections").click()
    panel.get_by_label("New collection").fill("Animals")
    panel.get_by_role("button", name="Create").click()
    expect(panel.get_by_label("Animals")).to_have_value("Animals")

    panel.get_by_role("link", name="birds.md").click()
    panel.get_by_text("Name, tags, metadata, collection").click()
    panel.get_by_label("Name", exact=True).fill("herons.md")
    panel.get_by_label("Tags").fill("birds, 2026，birds")
    panel.get_by_label("Metadata").fill("year: 2024\nauthor: Ada\nsigned: 2024-05-31\nroom 7")
    panel.get_by_role("button", name="Save").click()
    expect(panel.get_by_text("“room 7” is not of the form “name: value”.")).to_be_visible()
    panel.get_by_label("Metadata").fill("year: 2024\nauthor：Ada\nsigned: 2024-05-31\nroom: 007")
    panel.locator(".detail").get_by_label("Collection").select_option(label="Animals")
    panel.get_by_role("button", name="Save").press("Enter")

    expect(panel.get_by_role("heading", name="herons.md")).to_be_visible()
    expect(panel.locator(".detail .tags")).to_have_text("#birds #2026")
    panel.get_by_role("link", name="All documents").click()
    expect(panel.locator(".documents-list").get_by_role("link")).to_have_text(["other.md", "herons.md"])
    panel.get_by_label("Tag", exact=True).select_option(label="birds")
    panel.get_by_label("Collection", exact=True).select_option(label="Animals")
    expect(panel.locator(".documents-list").get_by_role("listitem")).to_contain_text(["herons.md"])
    expect(panel.get_by_text("Only documents that match Animals · #birds will be searched.")).to_be_visible()
    (collection,) = api("GET", f"{url}/collections")["items"]
    panel.get_by_text("More filters").click()
    panel.get_by_label("author").select_option("Ada")
    panel.get_by_label("year from").fill("2025")
    expect(panel.get_by_text("No document matches.")).to_be_visible()
    panel.get_by_label("year from").fill("2024")
    panel.get_by_label("signed until").fill("2024-05-31")
    panel.get_by_label("Uploaded from").fill("2020-01-01")
    expect(panel.get_by_text("More filters (4)")).to_be_visible()
    expect(panel.locator(".documents-list").get_by_role("link", name="herons.md")).to_be_visible()
    model.says("The documents do not say.")
    with page.expect_request("**/documents/ask/stream") as asked:
        ask(panel, "Where does it nest?")
    condition = sent(asked.value)["filter"]
    assert condition.pop("created_from").startswith(("2019-12-31T", "2020-01-01T"))
    assert condition == {
        "tags": ["birds"],
        "collection_ids": [collection["id"]],
        "metadata": {"author": "Ada", "year": {"gte": 2024}, "signed": {"lt": "2024-06-01"}},
    }
    expect(panel.get_by_text("Done. Only documents that match Animals · #birds · 2020-01-01 –")).to_be_visible()
    panel.get_by_role("button", name="Clear these filters").click()
    expect(panel.get_by_text("Only documents that match Animals · #birds will be searched.")).to_be_visible()


def test_new_version_replaces_the_document(page: Page, url: str) -> None:
    upload(url, "birds.md", b"The heron nests in the oak.")
    panel = opened(page, url)
    panel.get_by_role("link", name="birds.md").click()
    panel.get_by_text("Versions", exact=True).click()
    expect(panel.locator(".versions li")).to_contain_text(["Version 1 · current"])

    with page.expect_file_chooser() as chooser:
        panel.get_by_role("button", name="Upload a new version").click()
    new: FilePayload = {"name": "herons.md", "mimeType": "text/markdown", "buffer": b"The heron nests in the reeds."}
    chooser.value.set_files(new)

    expect(panel.locator(".versions li")).to_contain_text(["Version 2 · current", "Version 1 · replaced"])
    expect(panel.get_by_role("heading", name="herons.md")).to_be_visible()
    expect(panel.locator(".detail .text")).to_have_text("The heron nests in the reeds.")


def test_summary_is_streamed(page: Page, url: str, model: ScriptedModel) -> None:
    upload(url, "birds.md", b"The heron nests in the oak.")
    model.says("A text about " + "herons and " * 200, tokens_per_second=10)
    panel = opened(page, url)
    panel.get_by_role("link", name="birds.md").click()

    panel.get_by_role("button", name="Summarize").click()
    expect(panel.locator(".summary")).to_contain_text("A text about herons")
    panel.get_by_role("button", name="Stop").click()
    expect(panel.locator(".summary")).to_contain_text("Stopped.")
    expect(panel.get_by_role("button", name="Summarize")).to_be_focused()
    model.says("A text about herons.")
    panel.get_by_role("button", name="Summarize").click()

    expect(panel.locator(".summary .answer")).to_have_text("A text about herons.")
    expect(panel.locator(".summary")).to_contain_text("Summary by m")


def test_follow_up_question_sends_the_history(page: Page, url: str, model: ScriptedModel) -> None:
    upload(url, "birds.md", b"The heron nests in the oak. It lays four eggs.")
    model.says("The heron nests in the oak. [1]")
    panel = opened(page, url)
    ask(panel, "Where does the heron nest?")
    expect(panel.get_by_text("Done. 1 passage is cited.")).to_be_visible()
    expect(panel.get_by_label("Question about the documents")).to_have_value("")
    model.says("It lays four eggs. [1]")

    with page.expect_request("**/documents/ask/stream") as asked:
        ask(panel, "How many eggs does it lay?")

    assert sent(asked.value)["history"] == [
        {"role": "user", "content": "Where does the heron nest?"},
        {"role": "assistant", "content": "The heron nests in the oak. [1]"},
    ]
    expect(panel.locator(".asked")).to_have_text("How many eggs does it lay?")
    earlier = panel.locator(".earlier")
    expect(earlier.get_by_text("The heron nests in the oak.").first).to_be_hidden()
    earlier.get_by_text("Where does the heron nest?").click()
    expect(earlier.locator("div.answer").first).to_have_text("The heron nests in the oak. [1]")
    panel.get_by_role("button", name="New conversation").click()
    expect(panel.locator(".asked")).to_be_hidden()


def test_dropped_folder_and_archive_are_uploaded(page: Page, url: str) -> None:
    archive = BytesIO()
    with zipfile.ZipFile(archive, "w") as files:
        files.writestr("otters.txt", "The otter sleeps in the holt.")
        files.writestr("empty.txt", "")
    panel = opened(page, url)

    panel.dispatch_event("drop", {"dataTransfer": page.evaluate_handle(FOLDER)})
    expect(panel.locator(".documents-list").get_by_role("link")).to_have_text(["heron.txt"])
    chosen: FilePayload = {"name": "all.zip", "mimeType": "application/zip", "buffer": archive.getvalue()}
    panel.locator("input[type=file]").set_input_files(chosen)

    expect(panel.locator(".uploads > li")).to_contain_text("1 of 2 files are stored.")
    expect(panel.locator(".uploads > li")).to_contain_text("empty.txt: The file is empty.")
    expect(panel.locator(".documents-list").get_by_role("link")).to_have_text(["otters.txt", "heron.txt"])
    otters, heron = api("GET", f"{url}/documents")["items"]
    assert (otters["metadata"], heron["metadata"]) == ({}, {"path": "birds/water/heron.txt"})


def test_private_address_is_refused(refused_page: Page, url: str) -> None:
    panel = opened(refused_page, url)
    panel.get_by_text("Add a document from the web").click()
    address = panel.get_by_label("Address of a document or web page")

    address.fill("ftp://example.com/a.pdf")
    address.press("Enter")
    expect(panel.get_by_text("Please write an address that begins with https:// or http://.")).to_be_visible()
    address.fill("http://127.0.0.1/a.pdf")
    address.press("Enter")

    expect(panel.get_by_role("alert")).to_be_visible()
    expect(panel.get_by_text("127.0.0.1 is not a public address, and only public ones are fetched.")).to_be_visible()


def test_waiting_document_shows_its_position(page: Page, url: str, model: ScriptedModel) -> None:
    model.embeds(until_released(released := threading.Event(), embeds()))
    for number in range(5):  # three are ingested at once, two of a user
        upload(url, f"{number}.txt", f"This is file {number}.".encode(), wait=False)

    panel = opened(page, url)

    rows = panel.locator(".documents-list").get_by_role("listitem")
    expect(rows.first).to_contain_text("Waiting: 2 before it")
    released.set()
    expect(panel.get_by_text("Ready · 1 passage")).to_have_count(5)


def test_reasons_are_in_the_language_of_the_page(browser: Browser, url: str) -> None:
    upload(url, "broken.pdf", b"%PDF-1.4\nnothing of the kind")
    with browser.new_context(locale="zh-CN", viewport={"width": 390, "height": 800}) as context:
        page = context.new_page()
        panel = opened(page, url, "向文档提问")

        expect(panel.get_by_text("无法读取 PDF：文件损坏或不完整。")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        page.get_by_role("button", name="English").click()
        expect(page.get_by_text("The PDF cannot be read; it is damaged or incomplete.")).to_be_visible()


def test_passages_are_found_without_an_answer(page: Page, url: str, tmp_path: Path) -> None:
    upload(url, "birds.pdf", pdf(tmp_path, "Contents.", "The heron nests in the oak."))
    upload(url, "soup.md", b"Stir the soup.")
    panel = opened(page, url)
    panel.get_by_label("Question about the documents").fill("Where does the heron nest?")

    with page.expect_request("**/documents/search") as searched:
        panel.get_by_role("button", name="Find passages").click()

    assert sent(searched.value) == {"query": "Where does the heron nest?", "min_score": 0.1}
    expect(panel.get_by_role("heading", name="Passages found")).to_be_visible()
    first = panel.locator(".passages").get_by_role("listitem").first
    expect(first).to_contain_text("birds.pdf · page 2")
    expect(first).to_contain_text(re.compile(r"relevance \d+ %"))
    first.locator("summary").click()
    expect_drawn(panel.get_by_role("img", name="Page 2"))
    expect(panel.get_by_text("All documents were searched.")).to_be_visible()
