"""What can be told of a graph without running it: its picture, its schemas, its subgraphs."""

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
async def opened(graphs: Graphs, graph_id: str, config: Json, store: OwnedStore) -> AsyncIterator[Graph]:
    """Give a graph that is only to be looked at.

    Args:
        graphs: Of the service.
        graph_id: Which one.
        config: An assistant's, which a factory may want to see.
        store: What whoever looks remembers: likewise.

    Raises:
        InvalidRequest: if it cannot be made from this configuration.
    """
    configurable = config.get("configurable", {}) | {"langgraph_auth_user_id": store.owner_id}
    whole = cast("RunnableConfig", config | {"configurable": configurable})
    async with AsyncExitStack() as stack:
        made = graphs.open(graph_id, whole, checkpointer=None, store=store, access_context="assistants.read")
        try:
            graph = await stack.enter_async_context(made)
        except ServiceError:
            raise
        except Exception as error:
            logger.opt(exception=error).warning("graph {} cannot be made", graph_id)
            raise InvalidRequest("The graph cannot be made from this assistant's configuration.") from error
        yield graph


async def drawn(graph: Graph, depth: int | bool) -> Json:
    """Return nodes and edges.

    Args:
        graph: Which.
        depth: How deep to look into subgraphs; True for all the way.
    """
    picture: Json = (await graph.aget_graph(xray=depth)).to_json()
    for node in picture["nodes"]:
        node.get("data", {}).pop("id", None)  # the path of the class that runs it
    return picture


async def subgraphs(graph: Graph, namespace: str | None, *, recurse: bool) -> AsyncIterator[tuple[str, GraphSchemas]]:
    """Give the namespace and the schemas of each subgraph.

    Args:
        graph: Of which.
        namespace: Only the one that is there, such as `outer|inner`.
        recurse: Whether theirs are wanted too.
    """
    async for where, subgraph in graph.aget_subgraphs(namespace=namespace, recurse=recurse):
        yield where, schemas(subgraph)


def schemas(graph: PregelProtocol[Any, Any, Any, Any]) -> GraphSchemas:
    """Return what goes into a graph and what comes out, as JSON schemas."""
    if not isinstance(graph, Pregel):  # one that runs elsewhere tells nothing of its types
        return GraphSchemas(
            input_schema=None, output_schema=None, state_schema=None, config_schema=None, context_schema=None
        )
    context = _attempt(graph.get_context_jsonschema)
    return GraphSchemas(
        input_schema=_attempt(graph.get_input_jsonschema),
        output_schema=_attempt(graph.get_output_jsonschema),
        state_schema=_attempt(lambda: _state_schema(graph)),
        # `config.configurable` is the older form of the context, so it takes the same.
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
    return _attempt(lambda: TypeAdapter(kind).json_schema()) is not None


def _attempt(make: Callable[[], Json | None]) -> Json | None:
    """Return a schema, or None where the types of a graph have none: any Python type may be in a state."""
    try:
        return make()
    except Exception as error:  # noqa: BLE001  whatever the types of a team's own graph raise
        logger.debug("no schema: {}", type(error).__name__)
        return None
