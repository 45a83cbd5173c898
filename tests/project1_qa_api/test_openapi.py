"""The OpenAPI document, and that the service keeps to it for any request."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from project1_qa_api.main import create_app
from project1_qa_api.settings import Settings
from tests.support.fuzz import fuzz

JSON_PROBLEM = "application/problem+json"


@pytest.fixture
def document(make_settings: Callable[..., Settings]) -> dict[str, Any]:
    return create_app(make_settings()).openapi()


def test_operations_match_the_contract(document: dict[str, Any]) -> None:
    operations = {(method, path) for path, item in document["paths"].items() for method in item}

    assert operations == {
        ("get", "/health"),
        ("get", "/ready"),
        ("post", "/ask"),
        ("post", "/ask/stream"),
        ("post", "/ask/batch"),
        ("get", "/ask/history"),
    }


def test_errors_are_described_as_problems(document: dict[str, Any]) -> None:
    for path, item in document["paths"].items():
        for operation in item.values():
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert list(response["content"]) == [JSON_PROBLEM], (path, status)
                    for example in response["content"][JSON_PROBLEM]["examples"].values():
                        assert example["value"]["status"] == int(status)
    assert set(document["paths"]["/ask"]["post"]["responses"]) == {"200", "400", "413", "422", "503", "504"}
    assert set(document["paths"]["/ask/stream"]["post"]["responses"]) == {"200", "400", "413", "422", "503", "504"}
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert set(document["components"]["schemas"]["Problem"]["required"]) == {"title", "status", "detail"}


def test_request_fields_have_examples(document: dict[str, Any]) -> None:
    for name in ("AskRequest", "BatchRequest"):
        for field, schema in document["components"]["schemas"][name]["properties"].items():
            assert "examples" in schema, (name, field)


async def test_swagger_ui_is_self_hosted(client: httpx2.AsyncClient) -> None:
    page = await client.get("/docs")

    assert page.status_code == 200
    assert "http://" not in page.text
    assert "https://" not in page.text
    assert page.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    for file in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert (await client.get(f"/docs/files/{file}")).status_code == 200


OPERATIONS = ["GET /health", "GET /ready", "POST /ask", "POST /ask/stream", "POST /ask/batch", "GET /ask/history"]


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS)
def test_responses_follow_the_openapi_document(app_url: str, operation: str) -> None:
    fuzz(app_url, operation, examples=100)
