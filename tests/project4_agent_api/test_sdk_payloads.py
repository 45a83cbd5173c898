"""Every field that LangGraph's Python client sends is one that the API has: compared with what the client really sends.

Each method is called with everything that it takes; one that takes something new fails here, and says what.
"""

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, get_args, get_type_hints
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk import schema
from langgraph_sdk.client import LangGraphClient
from pydantic import BaseModel
from starlette.routing import compile_path

from project4_agent_api.assistants.schemas import AssistantField, AssistantRead, AssistantVersionRead
from project4_agent_api.core.schemas import GraphConfig
from project4_agent_api.crons.schemas import CronField, CronRead
from project4_agent_api.settings import Settings
from project4_agent_api.store.schemas import FoundItem, ItemRead
from tests.support.agent_parts import create_parts

# Options of the client itself: these go into no body.
NOT_SENT = {"self", "headers", "params", "response_format"}
CLIENTS = ("assistants", "store", "crons")


def example(name: str) -> Any:  # noqa: ANN401  any type that the parameter takes
    given: dict[str, Any] = {
        "version": 1,
        "limit": 5,
        "offset": 1,
        "xray": 2,
        "recurse": True,
        "delete_threads": True,
        "refresh_ttl": True,
        "enabled": True,
        "checkpoint_during": True,
        "stream_subgraphs": True,
        "stream_resumable": True,
        "max_depth": 2,
        "ttl": 5,
        "end_time": datetime(2030, 1, 1, tzinfo=UTC),
        "namespace": ["a", "b"],
        "namespace_prefix": ["a"],
        "prefix": ["a"],
        "suffix": ["b"],
        "index": ["text"],
        "select": ["metadata"],
        "value": {"a": 1},
        "filter": {"a": 1},
        "config": {"tags": ["t"]},
        "context": {"a": 1},
        "metadata": {"a": 1},
        "input": {"a": 1},
        "timezone": "Europe/Berlin",
    }
    if name.endswith("_id"):
        return str(uuid4())
    return given.get(name, f"some {name}")


async def sent_by(client_name: str, method: str) -> httpx.Request:
    """The request of a method that is called with all of its arguments."""
    seen: list[httpx.Request] = []

    def record(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={})

    async with httpx.AsyncClient(base_url="http://recorder", transport=httpx.MockTransport(record)) as http:
        call = getattr(getattr(LangGraphClient(http), client_name), method)
        positional, named = [], {}
        for name, parameter in inspect.signature(call).parameters.items():
            if name in NOT_SENT:
                continue
            value = "a|b" if (method, name) == ("get_subgraphs", "namespace") else example(name)
            if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
                positional.append(value)
            else:
                named[name] = value
        if "checkpoint_during" in named:
            with pytest.warns(DeprecationWarning, match="checkpoint_during"):
                await call(*positional, **named)
        else:
            await call(*positional, **named)
    (request,) = seen
    return request


def methods_of(client_name: str) -> list[str]:
    kind = type(getattr(LangGraphClient(httpx.AsyncClient()), client_name))
    return [name for name, _ in inspect.getmembers(kind, inspect.iscoroutinefunction) if not name.startswith("_")]


@pytest.mark.parametrize(("client_name", "method"), [(name, one) for name in CLIENTS for one in methods_of(name)])
async def test_client_requests_fit_the_api(
    make_settings4: Callable[..., Settings], client_name: str, method: str
) -> None:
    document = create_parts(make_settings4()).openapi()
    request = await sent_by(client_name, method)

    operations = {
        path: operations[request.method.lower()]
        for path, operations in document["paths"].items()
        if request.method.lower() in operations and compile_path(path)[0].match(request.url.path)
    }
    operation = operations[min(operations, key=lambda path: path.count("{"))]
    parameters = {one["name"] for one in operation.get("parameters", []) if one["in"] == "query"}
    assert set(request.url.params) <= parameters
    if request.content:
        reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        fields = document["components"]["schemas"][reference.rpartition("/")[2]]["properties"]
        assert set(httpx.Response(200, content=request.content).json()) <= set(fields)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (schema.Assistant, AssistantRead),
        (schema.AssistantVersion, AssistantVersionRead),
        (schema.Cron, CronRead),
        (schema.Item, ItemRead),
        (schema.SearchItem, FoundItem),
        (schema.Config, GraphConfig),
    ],
    ids=lambda kind: kind.__name__,
)
def test_responses_have_the_clients_fields(theirs: type, ours: type[BaseModel]) -> None:
    assert set(get_type_hints(theirs)) <= set(ours.model_fields)


def test_selectable_fields_match_the_clients() -> None:
    assert (
        set(get_args(schema.AssistantSelectField)) == set(get_args(AssistantField)) == set(AssistantRead.model_fields)
    )
    # LangGraph's own server has no `now` either, and says what else there is.
    theirs = set(get_args(schema.CronSelectField)) - {"now"}
    assert theirs <= set(get_args(CronField)) == set(CronRead.model_fields)
