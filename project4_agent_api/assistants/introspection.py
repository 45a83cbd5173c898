"""Inspect a graph without running it: its nodes and edges, its schemas, its subgraphs."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.pregel import Pregel
from langgraph.pregel.protocol import PregelProtocol
from loguru import logger
from pydantic import BaseModel, TypeAdapter, create_model

from project4_agent_api.assistants.schemas import GraphSchemas
from project4_agent_api.graphs.registry import Graph, Graphs
from project4_agent_api.models import Json
from project4_agent_api.store.service import OwnedStore
from shared.errors import InvalidRequest, ServiceError


@asynccontextmanager
async def open_graph(graphs: Graphs, graph_id: str, config: Json, store: OwnedStore) -> AsyncIterator[Graph]:
    """Open a graph that is inspected and not run.

    Args:
        config: The assistant's config, for factories.
        store: The caller's store, for factories.

    Raises:
        InvalidRequest: if the graph's factory fails with this config.
    """
    configurable = config.get("configurable", {}) | {"langgraph_auth_user_id": store.owner_id}
    run_config = cast("RunnableConfig", config | {"configurable": configurable})
    async with AsyncExitStack() as stack:
        opening = graphs.open(graph_id, run_config, checkpointer=None, store=store, access_context="assistants.read")
        try:
            graph = await stack.enter_async_context(opening)
        except ServiceError:
            raise
        except Exception as error:
            logger.opt(exception=error).warning("the factory of graph {} failed", graph_id)
            raise InvalidRequest("The graph cannot be created with this assistant's configuration.") from error
        yield graph


async def draw(graph: Graph, depth: int | bool) -> Json:
    """Return a graph's nodes and edges.

    Args:
        depth: How many levels of subgraphs to expand; True for all.
    """
    drawing: Json = (await graph.aget_graph(xray=depth)).to_json()
    for node in drawing["nodes"]:
        node.get("data", {}).pop("id", None)  # internal: the import path of its class
    return drawing


async def subgraphs(graph: Graph, namespace: str | None, *, recurse: bool) -> AsyncIterator[tuple[str, GraphSchemas]]:
    """Yield the namespace and the schemas of each subgraph.

    Args:
        namespace: Only the subgraph with this namespace, such as `outer|inner`.
    """
    async for path, subgraph in graph.aget_subgraphs(namespace=namespace, recurse=recurse):
        yield path, schemas(subgraph)


def schemas(graph: PregelProtocol[Any, Any, Any, Any]) -> GraphSchemas:
    """Return the JSON schemas of a graph."""
    if not isinstance(graph, Pregel):  # a remote graph does not expose its types
        return GraphSchemas(
            input_schema=None, output_schema=None, state_schema=None, config_schema=None, context_schema=None
        )
    context = _schema_or_none(graph.get_context_jsonschema)
    return GraphSchemas(
        input_schema=_schema_or_none(graph.get_input_jsonschema),
        output_schema=_schema_or_none(graph.get_output_jsonschema),
        state_schema=_schema_or_none(lambda: _state_schema(graph)),
        # `config.configurable` is the older form of the context, so it has the same schema.
        config_schema=context or {},
        context_schema=context,
    )


def _state_schema(graph: Graph) -> Json:
    fields: dict[str, Any] = {}
    for name in graph.stream_channels_list:
        kind = getattr(graph.channels[name], "UpdateType", Any)
        fields[name] = (kind if _has_schema(kind) else Any, None)
    model: type[BaseModel] = create_model(graph.get_name("State"), **fields)
    return model.model_json_schema()


def _has_schema(kind: Any) -> bool:  # noqa: ANN401  any type
    return _schema_or_none(lambda: TypeAdapter(kind).json_schema()) is not None


def _schema_or_none(create: Callable[[], Json | None]) -> Json | None:
    """Return a schema, or None if the graph's types have none: a state may contain any Python type."""
    try:
        return create()
    except Exception as error:  # noqa: BLE001  the types of a team's graph may raise anything
        logger.debug("a type has no JSON schema: {}", type(error).__name__)
        return None
