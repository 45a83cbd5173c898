"""A real headless Chromium, which may speak to this machine only."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

# Without the first three, each new window starts a process that draws suggestions below the address bar, and one for a
# page that may follow: more than half a second of a core. The others are Playwright's own, which the flag replaces.
_UNNEEDED = [
    "WebUIOmniboxPopup",
    "WebUIOmniboxAimPopup",
    "SpareRendererForSitePerProcess",
    "AimEnabled",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "ThirdPartyStoragePartitioning",
]
# Background requests of the browser would be connections that no test makes.
_FLAGS = [
    "--no-sandbox",  # CI runs as root, where Chromium's sandbox cannot
    "--disable-gpu",
    "--in-process-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Not a route of Playwright: with one, each request takes a detour through the test, and none is cached.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1 , EXCLUDE localhost",
    f"--disable-features={','.join(_UNNEEDED)}",
]
_MILLISECONDS = 60_000  # until a page is taken for hung; Playwright's own five seconds are short at times


# Not for the whole session: while it is open, playwright's own event loop keeps the async tests from running.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, as `CHROMIUM` or the path names it."""
    names = [os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome"]
    executable = next((path for name in names if name and (path := shutil.which(name))), None)
    if executable is None:
        pytest.skip("NO BROWSER: the page is not tested; `apt-get install chromium`, or name one with CHROMIUM=")
    expect.set_options(timeout=_MILLISECONDS)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of a fresh, English-speaking visitor. Anything on its console that is an error fails the test."""
    with _page(browser) as page:
        errors: list[str] = []
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        yield page
    assert errors == []


@pytest.fixture
def refused_page(browser: Browser) -> Iterator[Page]:
    """A page whose console nobody checks: Chromium writes an error there for every answer of 4xx or 5xx."""
    with _page(browser) as page:
        yield page


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Close a test's page before the service that it shows stops: a request cut off then is an error on the console."""
    for value in getattr(item, "funcargs", {}).values():
        if isinstance(value, Page):
            value.close()


@contextmanager
def _page(browser: Browser) -> Iterator[Page]:
    with browser.new_context(locale="en-US") as context:
        context.set_default_timeout(_MILLISECONDS)
        yield context.new_page()
