"""Draw the pictures of the READMEs from project 4 as it runs, with a scripted model: `make screenshots`.

Its name keeps it out of `make test`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, ViewportSize, expect

from tests.support.agent_service import PASSWORD, AgentService, agent_service
from tests.support.databases import Databases
from tests.support.scripted_model import ScriptedModel, calls, says

ASSETS = Path(__file__).parents[1] / "docs" / "assets"
SIZE = ViewportSize(width=1280, height=800)
MAX_BYTES = 120_000


@dataclass(frozen=True)
class Story:
    """A conversation for the pictures, in one language.

    Attributes:
        earlier: Questions of earlier threads, and their answers.
        handbook: Headings and texts of the document that is cited.
        search: Query of the assistant's search.
        lookup: The question in the view of the documents.
    """

    locale: str
    name: str
    earlier: tuple[tuple[str, str], ...]
    handbook: tuple[tuple[str, str], ...]
    filename: str
    search: str
    lookup: str
    question: str
    answer: str


ENGLISH = Story(
    locale="en-US",
    name="Ada",
    earlier=(
        ("Plan the move to the new office", "Book the movers first."),
        ("Which train gets me to Shanghai by noon?", "The one at 7:00."),
        ("What is 17 * 23?", "17 × 23 = 391."),
    ),
    handbook=(
        ("Annual leave", "Everyone has 25 days of paid leave a year. Days that are not taken by 31 March lapse."),
        ("Parental leave", "Parents take up to 14 weeks, which are paid in full."),
        ("Expenses", "Train tickets are booked in second class. Hotels cost at most 120 euros a night."),
    ),
    filename="handbook.pdf",
    search="annual leave, days that are not taken",
    lookup="Which days of paid leave lapse on 31 March?",
    question="How much leave do I have, and when does it lapse?",
    answer="You have 25 days of paid leave a year [1]. Days that you have not taken by 31 March lapse [1].",
)
CHINESE = Story(
    locale="zh-CN",
    name="陈美",
    earlier=(
        ("帮我规划搬到新办公室的步骤", "先预订搬家公司。"),
        ("坐哪趟火车能在中午前到上海？", "七点的那趟。"),
        ("17 * 23 等于多少？", "17 × 23 = 391。"),
    ),
    handbook=(
        ("年假", "每位员工每年有 25 天带薪年假。次年 3 月 31 日前未休的天数作废。"),
        ("育儿假", "父母最多可休 14 周育儿假，工资照发。"),
        ("差旅费用", "火车票按二等座预订。住宿每晚不超过 800 元。"),
    ),
    filename="员工手册.pdf",
    search="年假 未休的天数",
    lookup="带薪年假次年 3 月 31 日前未休的天数会作废吗？",
    question="我有多少天年假？什么时候作废？",
    answer="你每年有 25 天带薪年假 [1]。次年 3 月 31 日前未休的天数作废 [1]。",
)


# It is started before the browser: Alembic's environment runs an event loop, and so does playwright.
@pytest.fixture(scope="module", autouse=True)
def service(databases: Databases, _redis_server: str, _model_server: ScriptedModel) -> Iterator[AgentService]:
    """Project 4 with its built-in assistants."""
    with (
        databases.migrated("project4_agent_api") as database_url,
        agent_service(database_url, _redis_server, _model_server) as running,
    ):
        yield running


@pytest.mark.parametrize("story", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_draw_the_views(
    browser: Browser, service: AgentService, model: ScriptedModel, story: Story, tmp_path: Path
) -> None:
    language = story.locale[:2]
    with browser.new_context(locale=story.locale, viewport=SIZE) as context:
        email = f"{language}@example.com"
        headers = account(service, email, story.name)
        write_handbook(context, story, tmp_path / story.filename)
        document = upload(service, headers, tmp_path / story.filename)
        for question, answer in story.earlier:
            model.says(answer)
            run(service, headers, question)
        model.then(calls(("search_documents", f'{{"query": "{story.search}"}}')), says(story.answer))
        run_id, thread = run(service, headers, story.question)
        model.says(story.answer)
        page = context.new_page()
        page.goto(service.url)
        page.locator("#account-email").fill(email)
        page.locator("#account-password").fill(PASSWORD)
        page.keyboard.press("Enter")

        visit(page, f"chat/{thread}")
        expect(page.locator(".sources li")).to_be_visible()
        page.locator(".tool-call summary").click()  # folds it
        draw(page, f"console-chat-{language}")

        visit(page, f"documents/{document}")
        asked = page.locator("#documents-question")
        asked.fill(story.lookup)
        asked.press("Control+Enter")
        page.locator("a.marker").first.click(timeout=10_000)
        pictures = page.locator(".picture img:not([hidden])")  # of the page, once with the passage marked
        expect(pictures).to_have_count(2)
        pictures.evaluate_all("images => Promise.all(images.map(image => image.decode()))")
        page.evaluate("scrollTo(0, 0)")
        draw(page, f"console-documents-{language}")

        visit(page, f"runs/{run_id}")
        expect(page.locator(".panel:not([hidden])")).to_contain_text("search_documents")
        draw(page, f"console-run-{language}")


def account(service: AgentService, email: str, name: str) -> dict[str, str]:
    """Make an account; return the headers of its requests."""
    with httpx2.Client(base_url=service.url, timeout=120, trust_env=False) as http:
        http.post("/auth/register", json={"email": email, "name": name, "password": PASSWORD}).raise_for_status()
        tokens = http.post("/auth/token", data={"username": email, "password": PASSWORD}).raise_for_status().json()
    return {"Authorization": f"Bearer {tokens['access_token']}"}


def write_handbook(context: BrowserContext, story: Story, path: Path) -> None:
    """Write a PDF with a page for each heading."""
    pages = "".join(f"<section><h2>{heading}</h2><p>{text}</p></section>" for heading, text in story.handbook)
    style = "body { font: 14pt/1.5 sans-serif; margin: 0 1cm } section { break-after: page } h2 { margin-top: 0.8cm }"
    page = context.new_page()
    page.set_content(f"<style>{style}</style>{pages}")
    page.pdf(path=path, width="16cm", height="5cm")
    page.close()


def upload(service: AgentService, headers: dict[str, str], path: Path) -> str:
    """Upload a document, wait until it is ready, and return its id."""
    with httpx2.Client(base_url=service.url, timeout=120, trust_env=False, headers=headers) as http:
        made = http.post("/documents", files={"file": (path.name, path.read_bytes(), "application/pdf")})
        document_id = str(made.raise_for_status().json()["id"])
        http.get(f"/documents/{document_id}/events").raise_for_status()
    return document_id


def run(service: AgentService, headers: dict[str, str], question: str) -> tuple[str, str]:
    """Ask the built-in agent on a new thread; return the ids of the run and the thread."""
    body = {"assistant_id": "agent", "input": {"messages": [{"role": "user", "content": question}]}}
    with httpx2.Client(base_url=service.url, timeout=120, trust_env=False, headers=headers) as http:
        made = http.post("/threads", json={"metadata": {"title": question}}).raise_for_status().json()
        thread_id = str(made["thread_id"])
        http.post(f"/threads/{thread_id}/runs/wait", json=body).raise_for_status()
        runs = http.get(f"/threads/{thread_id}/runs").raise_for_status().json()
    return str(runs[0]["run_id"]), thread_id


def visit(page: Page, address: str) -> None:
    expect(page.locator("nav.views")).to_be_visible()
    page.evaluate("hash => { location.hash = hash }", f"#/{quote(address)}")


def draw(page: Page, name: str) -> None:
    """Draw what the window shows."""
    path = ASSETS / f"{name}.png"
    page.screenshot(path=path, animations="disabled", caret="hide")
    assert path.stat().st_size <= MAX_BYTES
