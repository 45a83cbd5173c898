"""LangGraph's JavaScript client, in Node and from a page of another origin."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse
from starlette.routing import Route

from tests.conformance.server import Server
from tests.conformance.support import REFERENCE
from tests.support.running import running

pytestmark = pytest.mark.slow

DONE = ["createsAThread", "streamsInThreeModes", "resumesAnInterrupt", "joinsARunningStream", "seesAnError"]


def test_client_works_in_node(server: Server, javascript: Path) -> None:
    command = ["node", "node.js", server.url, json.dumps(server.headers)]
    ended = subprocess.run(command, cwd=javascript, capture_output=True, text=True, timeout=120, check=False)
    assert ended.stderr == ""
    assert json.loads(ended.stdout) == DONE


def test_remote_graphs_work_in_node(server: Server, javascript: Path) -> None:
    command = ["node", "remote.js", server.url, json.dumps(server.headers)]
    environment = os.environ | {"LANGSMITH_TRACING": "false"}
    ended = subprocess.run(
        command, cwd=javascript, capture_output=True, text=True, timeout=120, check=False, env=environment
    )
    result = json.loads(ended.stdout)
    # The reference refuses an id that is none of Redis's.
    refused = {"reloadsAStreamFromTheBeginning"} if REFERENCE else set()
    assert {name for name in result["failed"] if name not in refused} == set(), result["failed"]
    assert len(result["done"]) == 7


def test_client_works_from_another_origin(server: Server, javascript: Path, browser: Browser) -> None:
    bundle = javascript / "bundle.js"
    options = ["--bundle", "--format=esm", "--log-level=warning", f"--outfile={bundle}"]
    subprocess.run(["node_modules/.bin/esbuild", "smoke.js", *options], cwd=javascript, check=True)

    def page_of_another(_: Request) -> HTMLResponse:
        return HTMLResponse("<!doctype html><title>Another origin</title>")

    def script(_: Request) -> FileResponse:
        return FileResponse(bundle)

    routes = [Route("/", page_of_another), Route("/bundle.js", script)]
    with running(Starlette(routes=routes)) as origin:
        page = browser.new_page()
        page.goto(origin)
        done = page.evaluate(
            "async ([url, headers]) => (await import('/bundle.js')).smoke(url, headers)", [server.url, server.headers]
        )
        page.close()
    assert done == DONE
