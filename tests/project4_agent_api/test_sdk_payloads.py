"""Every field that LangGraph's Python client sends is one that the API has: compared with what the client really sends.

Each method is called with everything that it takes; one that takes something new fails here, and says what.
"""

import inspect
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal, get_args, get_origin, get_type_hints
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk import schema
from langgraph_sdk.client import LangGraphClient
from pydantic import BaseModel
from starlette.routing import compile_path

from project4_agent_api.assistants.schemas import AssistantRead, AssistantSearch, AssistantVersionRead
from project4_agent_api.core.schemas import GraphConfig
from project4_agent_api.crons.schemas import CronCreate, CronRead, CronSearch
from project4_agent_api.runs.schemas import RunCreate, RunRead, RunsCancel, StatelessRunCreate
from project4_agent_api.settings import Settings
from project4_agent_api.store.schemas import FoundItem, ItemRead
from project4_agent_api.threads.repository import SORT_COLUMNS
from project4_agent_api.threads.schemas import ThreadCreate, ThreadRead, ThreadSearch, ThreadsPrune, ThreadState
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


def accepted(model: type[BaseModel], field: str) -> set[str]:
    """Return the values that a field of a body takes."""
    literals = [model.model_fields[field].annotation]
    names: set[str] = set()
    while literals:
        part = literals.pop()
        names |= set(get_args(part)) if get_origin(part) is Literal else set()
        literals += get_args(part) if get_origin(part) is not Literal else ()
    return names


@pytest.mark.parametrize(
    ("model", "field", "theirs"),
    [
        (RunCreate, "stream_mode", schema.StreamMode),
        (RunCreate, "multitask_strategy", schema.MultitaskStrategy),
        (RunCreate, "if_not_exists", schema.IfNotExists),
        (RunCreate, "durability", schema.Durability),
        (StatelessRunCreate, "on_completion", schema.OnCompletionBehavior),
        (RunsCancel, "status", schema.BulkCancelRunsStatus),
        (CronCreate, "stream_mode", schema.StreamMode),
        (CronSearch, "sort_by", schema.CronSortBy),
        (CronSearch, "select", schema.CronSelectField),
        (AssistantSearch, "sort_by", schema.AssistantSortBy),
        (AssistantSearch, "sort_order", schema.SortOrder),
        (AssistantSearch, "select", schema.AssistantSelectField),
        (ThreadCreate, "if_exists", schema.OnConflictBehavior),
        (ThreadsPrune, "strategy", schema.PruneStrategy),
        (ThreadSearch, "sort_by", schema.ThreadSortBy),
        (ThreadSearch, "select", schema.ThreadSelectField),
    ],
)
def test_bodies_accept_the_clients_names(model: type[BaseModel], field: str, theirs: object) -> None:
    assert set(get_args(theirs)) <= accepted(model, field)


def test_responses_have_the_selectable_fields() -> None:
    assert set(get_args(schema.AssistantSelectField)) == set(AssistantRead.model_fields)
    assert set(get_args(schema.RunSelectField)) == {
        field.serialization_alias or name for name, field in RunRead.model_fields.items()
    }
    # LangGraph's own servers have no `now` of crons and no `context` of threads either.
    assert set(get_args(schema.CronSelectField)) - {"now"} == set(CronRead.model_fields)
    assert set(get_args(schema.ThreadSelectField)) - {"context"} <= set(ThreadRead.model_fields)
    assert set(get_args(schema.ThreadSortBy)) == set(SORT_COLUMNS)
    assert set(get_args(get_args(schema.ThreadStateSelectField)[0])) <= set(ThreadState.model_fields)
