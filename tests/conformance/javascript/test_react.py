"""The hook `useStream` of both React packages, in a page of another origin that is loaded again in mid-answer."""

import html
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse
from starlette.routing import Route

from tests.conformance.server import Server
from tests.support.running import running

pytestmark = pytest.mark.slow

TIMEOUT = 60_000  # ms


@pytest.fixture(scope="module")
def bundle(javascript: Path) -> Path:
    """The page's script, with React and both packages."""
    bundle = javascript / "react.js"
    options = ["--bundle", "--format=iife", "--jsx=automatic", "--log-level=warning", f"--outfile={bundle}"]
    subprocess.run(["node_modules/.bin/esbuild", "react.jsx", *options], cwd=javascript, check=True)
    return bundle


@contextmanager
def opened(bundle: Path, browser: Browser, options: dict[str, object]) -> Iterator[Page]:
    """Open the page, with its options in it."""
    given = html.escape(json.dumps(options), quote=False)
    text = f"""<!doctype html><title>useStream</title><div id="root"></div>
        <script type="application/json" id="options">{given}</script><script src="/react.js"></script>"""

    def page_of_another(_: Request) -> HTMLResponse:
        return HTMLResponse(text)

    def script(_: Request) -> FileResponse:
        return FileResponse(bundle)

    with running(Starlette(routes=[Route("/", page_of_another), Route("/react.js", script)])) as origin:
        page = browser.new_page()
        page.goto(origin)
        yield page
        page.close()


@pytest.mark.parametrize("package", ["@langchain/react", "@langchain/langgraph-sdk/react"])
def test_page_that_is_loaded_again_shows_the_rest_of_the_answer(
    server: Server, bundle: Path, browser: Browser, package: str
) -> None:
    options = {"apiUrl": server.url, "headers": server.headers, "package": package, "seconds": 4}
    with opened(bundle, browser, options) as page:
        page.get_by_role("button", name="start").click()
        shown = page.locator("pre")
        expect(shown).to_contain_text('"done":["lie_down"]', timeout=TIMEOUT)
        page.reload()
        expect(shown).to_contain_text('"loading":true', timeout=TIMEOUT)
        expect(shown).to_contain_text('"done":["lie_down","sleep"]', timeout=TIMEOUT)
        expect(shown).to_contain_text('"loading":false', timeout=TIMEOUT)
        expect(shown).to_contain_text('"error":null')
