"""A browser may call the API from a page of another origin only if `CORS_ORIGINS` allows it."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from playwright.sync_api import Browser
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse
from starlette.routing import Route

from tests.support.running import running
from tests.support.scripted_model import ScriptedModel

pytestmark = pytest.mark.slow

ASK = """async url => {
    try {
        const headers = { "Content-Type": "application/json" };
        const body = JSON.stringify({ question: "Hi" });
        const response = await fetch(`${url}/ask`, { method: "POST", headers, body });
        return [response.status, (await response.json()).answer, response.headers.has("X-Request-ID")];
    } catch (error) {
        return error.name;
    }
}"""


@pytest.mark.parametrize(
    ("allowed", "seen"), [(True, [200, "Hello!", True]), (False, "TypeError")], ids=["allowed", "not allowed"]
)
def test_page_of_another_origin_follows_the_cors_settings(
    browser: Browser,
    serve: Callable[..., AbstractContextManager[str]],
    model: ScriptedModel,
    allowed: bool,
    seen: object,
) -> None:
    async def empty(_: Request) -> HTMLResponse:
        return HTMLResponse("<title>Another origin</title>")

    with running(Starlette(routes=[Route("/", empty)])) as other:
        origins = other if allowed else "https://example.com"
        with serve(app_env="production", cors_origins=origins) as url:
            page = browser.new_page()
            page.goto(other)
            assert page.evaluate(ASK, url) == seen
            page.close()

    assert len(model.requests) == allowed  # forbidden requests are not even sent
