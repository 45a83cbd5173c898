"""The frame of every request: request ids, errors in one shape, limits, CORS."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import httpx2
import pytest
from fastapi import APIRouter
from loguru import logger

from project1_qa_api.settings import Settings
from shared import health
from shared.app import build_app
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel

Serve = Callable[..., AbstractContextManager[str]]
MEGABYTE = 1024 * 1024


@pytest.fixture
def failing_url(make_settings: Callable[..., Settings]) -> Iterator[str]:
    """An app with a route that raises what nobody expected."""
    router = APIRouter()

    @router.get("/fail")
    async def fail() -> None:
        raise KeyError("the password is hunter2")

    app = build_app(make_settings(), title="t", description="", routers=[router], resources=[], panels=[])
    with running(app) as url:
        yield url


@pytest.mark.parametrize("given", ["abc", "a.b_c-D9", "x" * 128])
async def test_valid_request_id_is_kept(client: httpx2.AsyncClient, given: str) -> None:
    response = await client.get("/health", headers={"X-Request-ID": given})

    assert response.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "a\tb", '{"a":1}', "é".encode()])
async def test_invalid_request_id_is_replaced(client: httpx2.AsyncClient, given: str | bytes) -> None:
    response = await client.get(
        "/health", headers={b"X-Request-ID": given if isinstance(given, bytes) else given.encode()}
    )

    assert len(response.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    ("method", "path", "status", "title"),
    [("GET", "/nothing", 404, "Not Found"), ("DELETE", "/ask", 405, "Method Not Allowed")],
)
async def test_router_errors_are_problems(
    client: httpx2.AsyncClient, method: str, path: str, status: int, title: str
) -> None:
    response = await client.request(method, path)

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": title,
        "request_id": response.headers["x-request-id"],
    }
    if status == 405:
        assert response.headers["allow"] == "POST"


async def test_unexpected_error_reveals_nothing(failing_url: str) -> None:
    lines: list[str] = []
    sink = logger.add(
        lines.append, format="{extra[request_id]} {message}\n{exception}", filter=lambda r: bool(r["extra"])
    )
    origin = {"Origin": "http://localhost:3000"}
    async with httpx2.AsyncClient(timeout=120, trust_env=False) as http:
        response = await http.get(f"{failing_url}/fail", headers=origin)
    logger.remove(sink)

    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["access-control-allow-origin"] == "http://localhost:3000"
    assert response.json()["type"] == "urn:problem:internal"
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert "hunter2" not in response.text
    assert "KeyError" not in response.text
    assert any("KeyError" in line and response.headers["x-request-id"] in line for line in lines)


async def test_body_of_10_mb_is_rejected(client: httpx2.AsyncClient, model: ScriptedModel) -> None:
    content = json.dumps({"question": "x" * 10 * MEGABYTE}).encode()

    response = await client.post("/ask", content=content, headers={"content-type": "application/json"})

    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["type"] == "urn:problem:body-too-large"
    assert response.json()["detail"] == "The limit is 1,048,576 bytes."
    assert response.json()["request_id"] == response.headers["x-request-id"]
    assert model.requests == []


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ("", 422),  # read, and it is no question
        ("; charset=utf-8", 422),
        ('; charset="UTF-8"', 422),
        ("; charset=punycode", 400),
        ("; Charset=unicode_escape", 400),
        ("; charset=utf-8; charset=punycode", 400),
        ("; charset*0=puny; charset*1=code", 400),
        ("; charset*=utf-8''punycode", 400),
    ],
)
async def test_client_cannot_choose_the_codec_of_a_form(
    client: httpx2.AsyncClient, parameters: str, status: int
) -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="question"\r\n\r\nabc-abc\r\n--x--\r\n'

    response = await client.post(
        "/ask", content=form, headers={"content-type": f"multipart/form-data; boundary=x{parameters}"}
    )

    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


async def test_chunked_body_is_read_up_to_the_limit(app_url: str) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", int(app_url.rpartition(":")[2]))
    writer.write(
        b"POST /ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    for _ in range(MEGABYTE // 65536 + 1):  # one chunk more than is allowed; the body goes on after it
        writer.write(chunk)
    await writer.drain()

    async with asyncio.timeout(120):
        head = await reader.readuntil(b"\r\n\r\n")
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 200 * MEGABYTE:
                writer.write(chunk)
                await writer.drain()
                sent += len(chunk)
    writer.close()

    assert head.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in head.lower()
    assert sent < 40 * MEGABYTE  # what the server drops on the floor, and the sockets' buffers


async def test_body_at_the_limit_is_accepted(client: httpx2.AsyncClient) -> None:
    content = json.dumps({"question": "x"}).encode().ljust(MEGABYTE)

    response = await client.post("/ask", content=content, headers={"content-type": "application/json"})

    assert response.status_code == 200


@pytest.mark.parametrize(
    ("settings", "origin", "allowed"),
    [
        ({}, "http://localhost:5173", True),
        ({}, "http://127.0.0.1:8001", True),
        ({}, "https://[::1]:3000", True),
        ({}, "http://localhost.evil.example", False),
        ({}, "https://example.com", False),
        ({"cors_origins": "https://example.com,https://b.example"}, "https://b.example", True),
        ({"cors_origins": "https://example.com"}, "http://localhost:5173", False),
        ({"app_env": "production"}, "http://localhost:5173", False),
        ({"app_env": "production", "cors_origins": "https://example.com"}, "https://example.com", True),
    ],
)
async def test_cors_allows_configured_origins_only(
    serve: Serve, model: ScriptedModel, settings: dict[str, str], origin: str, allowed: bool
) -> None:
    assert model is not None
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    with serve(**settings) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            asked = await http.options("/ask", headers={"Origin": origin} | preflight)
            answered = await http.post("/ask", json={"question": "Hi"}, headers={"Origin": origin})
            refused = await http.post("/ask", json={}, headers={"Origin": origin})

    for response in (asked, answered, refused):
        assert response.headers.get("access-control-allow-origin") == (origin if allowed else None)
    if allowed:
        exposed = set(answered.headers["access-control-expose-headers"].split(", "))
        assert exposed >= {"Content-Location", "Location", "ETag", "Link", "Retry-After", "X-Request-ID"}


async def test_health_has_no_dependencies_and_ready_names_the_model(
    client: httpx2.AsyncClient, model: ScriptedModel
) -> None:
    assert model is not None
    assert (await client.get("/health")).json() == {"status": "ok"}
    ready = await client.get("/ready")
    assert ready.json() == {"status": "ready", "checks": {"model": {"status": "ok", "required": False}}}


async def test_ready_is_503_and_names_the_failed_check(make_settings: Callable[..., Settings]) -> None:
    async def away() -> bool:
        return False

    app = build_app(make_settings(), title="t", description="", routers=[health.router], resources=[], panels=[])
    app.state.checks += [health.Check("database", away), health.Check("model", away, required=False)]
    with running(app) as url:
        async with httpx2.AsyncClient(timeout=120, trust_env=False) as http:
            response = await http.get(f"{url}/ready")

    assert response.status_code == 503
    assert response.json()["type"] == "urn:problem:not-ready"
    assert response.json()["detail"] == "Not reachable: database."
    assert "retry-after" in response.headers


def test_library_loggers_are_quiet() -> None:
    assert logging.getLogger("httpx2").level == logging.WARNING


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:3000", 200),
        ("app.localhost", 200),
        ("[::1]:8001", 200),
        ("192.168.1.5", 200),
        ("tunnel.example:8443", 200),
        ("rebound.example:8001", 421),
        ("localhost.rebound.example", 421),
        ("127.0.0.1.rebound.example", 421),
        ("[::1", 421),
        ("", 421),
    ],
)
async def test_local_service_refuses_other_host_names(serve: Serve, host: str, status: int) -> None:
    with serve(cors_origins=("https://tunnel.example",)) as url:
        async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
            response = await client.get("/health", headers={"Host": host, "Origin": f"http://{host}"})

    assert response.status_code == status
    if status == 421:
        assert response.json()["type"] == "urn:problem:misdirected-request"
        assert response.json()["request_id"] == response.headers["x-request-id"]


@pytest.mark.parametrize("change", [{"host": "0.0.0.0"}, {"app_env": "production", "openai_api_key": "k"}])
async def test_service_of_a_network_serves_any_host_name(serve: Serve, change: dict[str, str]) -> None:
    with serve(**change) as url:
        async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
            response = await client.get("/health", headers={"Host": "api.example.com"})

    assert response.status_code == 200
