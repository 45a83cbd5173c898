"""The site is built without a warning, every page is linked, and commands print the documented output."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest

from learn import pages, questions
from learn.citations import ROOT
from learn.facts import Facts
from learn.questions import Question, QuestionMap
from learn.stages import STAGES
from tests.support.launched import Launched, clean_environment, free_port

pytestmark = pytest.mark.slow

THE_MAP = questions.load()


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if name in {"href", "src"} and value]
        self.ids |= {value for name, value in attrs if name == "id" and value}


def _parsed(page: Path) -> _Links:
    parser = _Links()
    # Without the navigation: a page that only a menu of everything leads to is an island.
    parser.feed(re.sub(r"<(nav|footer|header)\b.*?</\1>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL))
    return parser


def _target(page: Path, link: str) -> tuple[Path, str]:
    """Return the file that a link leads to, and the part of it."""
    url, fragment = urldefrag(link)
    return (page.parent / unquote(url)).resolve() if url else page, unquote(fragment)


@pytest.fixture(scope="module")
def site(facts: list[Facts], tmp_path_factory: pytest.TempPathFactory) -> Path:
    pages.write(facts)  # as `make docs` does first: git has only the index of these pages
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env=clean_environment() | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    return folder


def test_every_page_is_linked_from_another_in_its_language(site: Path) -> None:
    pages = {page.resolve() for page in site.rglob("*.html") if page.name != "404.html"}
    linked = set()
    for page in pages:
        linked |= {_target(page, link)[0] for link in _parsed(page).links if "://" not in link} - {page}
    assert pages - linked - {site / "index.html", site / "zh" / "index.html"} == set()


def test_links_lead_to_existing_parts_of_pages(site: Path) -> None:
    parsed = {page.resolve(): _parsed(page) for page in site.rglob("*.html") if page.name != "404.html"}
    broken = set()
    for page, content in parsed.items():
        for link in content.links:
            target, fragment = _target(page, link)
            known = parsed[target].ids if target in parsed else set()
            if "://" not in link and not (target.exists() and (not fragment or fragment in known)):
                broken.add(f"{page.relative_to(site.resolve())}: {link}")
    assert broken == set()


def test_site_has_no_sources(site: Path) -> None:
    assert list(site.rglob("*.toml")) == []


def test_site_is_self_contained(site: Path) -> None:
    for page in site.rglob("*.html"):
        fetched = re.findall(
            r"<(?:script|link|img|iframe)[^>]+(?:src|href)=\"?(https?://[^\" >]+)", page.read_text("utf-8")
        )
        assert fetched == []


@pytest.fixture(scope="module")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The ports of stages 3, which is the earlier ones too, and 4."""
    ports = {"8003": free_port(), "8004": free_port()}
    running = [
        Launched(
            tmp_path_factory.mktemp(name),
            {"PORT": str(ports[port]), "WORKER_PORT": str(free_port())},
            name,
        )
        for name, port in (("project3", "8003"), ("project4", "8004"))
    ]
    try:
        for launcher in running:
            launcher.said("Ctrl-C stops everything.")
        yield ports | {"8001": ports["8003"], "8002": ports["8003"]}
    finally:
        for launcher in running:
            launcher.close()


@pytest.mark.parametrize(
    "question", [question for question in THE_MAP.question if not question.not_run], ids=lambda question: question.id
)
def test_command_prints_the_documented_output(question: Question, stages: dict[str, int]) -> None:
    printed = _run(THE_MAP, question, stages)
    for shown in question.shows:
        assert shown in printed, printed


# Codes that a tour shows on purpose, besides those of success.
TOURS = {1: {"422"}, 2: {"412"}, 3: set(), 4: {"401"}}


@pytest.mark.parametrize("project", TOURS)
def test_commands_of_a_readme_succeed(project: int, stages: dict[str, int]) -> None:
    page = STAGES[project].folder / "README.md"
    tour = [
        block
        for block in re.findall(r"^```sh\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
        if "curl" in block
    ]

    printed = _script("\n".join(tour), stages)

    assert set(re.findall(r'"status":(\d{3})\b', printed)) <= TOURS[project], printed
    assert "curl: (" not in re.sub(r"curl: \(28\).*", "", printed), printed  # one command stops reading on purpose
    assert "Traceback" not in printed, printed


def test_loop_of_ratings_and_evaluations_prints_the_documented_output(stages: dict[str, int]) -> None:
    page = (ROOT / "docs" / "improve.md").read_text("utf-8")
    [(commands, output)] = re.findall(
        r"^```sh\n(.*?)^```\n\n.*?\n\n```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL
    )

    printed = _script(commands, stages)

    assert [line for line in output.splitlines() if line not in printed] == [], printed


def _run(the_map: QuestionMap, question: Question, ports: dict[str, int]) -> str:
    before = the_map.before.get(question.needs, "")
    return _script(f"{{ {before}\n}} > /dev/null\n{question.command}" if before else question.command, ports)


def _script(script: str, ports: dict[str, int]) -> str:
    for documented, real in ports.items():
        script = script.replace(f"127.0.0.1:{documented}", f"127.0.0.1:{real}")
    script = script.replace("8999", str(free_port()))
    ran: subprocess.CompletedProcess[str] = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return ran.stdout.replace("\r", "")
