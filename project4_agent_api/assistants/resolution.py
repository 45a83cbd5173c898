"""Find the assistant of a run, by its id or by the name of a graph.

Every graph has a built-in assistant, which is the same in all processes and never changes. A run with one needs no
query; a run with a user's own assistant needs one statement on the connection that stores the run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from psycopg import AsyncConnection
from psycopg.rows import class_row

from project4_agent_api.core.visibility import visible_rows
from project4_agent_api.models import Json
from shared.errors import InvalidRequest, NotFound

# LangGraph's namespace, so a graph's built-in assistant has the same id as on LangGraph's own server.
_NAMESPACE = UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
_BUILT_IN_METADATA = {"created_by": "system"}
NO_SUCH_ASSISTANT = "There is no assistant with this id."


@dataclass(frozen=True)
class ResolvedAssistant:
    """The part of an assistant that a run needs."""

    assistant_id: UUID
    graph_id: str
    config: Json
    context: Json
    metadata: Json
    version: int


def built_in_assistant_id(graph_id: str) -> UUID:
    """Return the id of a graph's built-in assistant."""
    return uuid5(_NAMESPACE, graph_id)


class AssistantResolver:
    """The built-in assistants, and the lookup of users' own.

    Args:
        graphs: The names of the service's graphs, each with its description.
    """

    def __init__(self, graphs: Mapping[str, str | None]) -> None:
        self.graph_ids = sorted(graphs)
        self.built_in = {
            built_in_assistant_id(graph_id): ResolvedAssistant(
                assistant_id=built_in_assistant_id(graph_id),
                graph_id=graph_id,
                config={},
                context={},
                metadata=dict(_BUILT_IN_METADATA),
                version=1,
            )
            for graph_id in graphs
        }

    async def resolve(
        self, connection: AsyncConnection[Any], owner_id: UUID, id_or_graph: UUID | str
    ) -> ResolvedAssistant:
        """Return the user's assistant with this id, or the built-in assistant with this id or of this graph.

        Raises:
            InvalidRequest: if `id_or_graph` is neither an id nor a graph's name.
            NotFound: if there is no such assistant, it belongs to another user, or its graph no longer exists.
        """
        assistant_id = self.parse_id(id_or_graph)
        if built_in := self.built_in.get(assistant_id):
            return built_in
        async with connection.cursor(row_factory=class_row(ResolvedAssistant)) as cursor:
            condition, parameters = visible_rows("assistants", owner_id)
            await cursor.execute(
                "SELECT assistant_id, graph_id, config, context, metadata, version FROM assistants"  # noqa: S608  no value in it
                f" WHERE assistant_id = %(assistant_id)s AND {condition}",
                parameters | {"assistant_id": assistant_id},
            )
            assistant = await cursor.fetchone()
        if assistant is None:
            raise NotFound(NO_SUCH_ASSISTANT)
        self.require_graph(assistant.graph_id)
        return assistant

    def parse_id(self, id_or_graph: UUID | str) -> UUID:
        """Return an assistant's id, given the id or the name of a graph.

        Raises:
            InvalidRequest: if it is neither.
        """
        if isinstance(id_or_graph, UUID):
            return id_or_graph
        if id_or_graph in self.graph_ids:  # first: the name of a graph may have the form of an id
            return built_in_assistant_id(id_or_graph)
        try:
            return UUID(id_or_graph)
        except ValueError:
            message = f"{id_or_graph[:100]!a} is neither an id nor a graph's name. The graphs are {self._graph_names}."
            raise InvalidRequest(message) from None

    def require_graph(self, graph_id: str) -> None:
        """Check that a graph exists.

        Raises:
            NotFound: if it does not. The message names the graphs that do.
        """
        if graph_id not in self.graph_ids:
            raise NotFound(f"There is no graph with this name. The graphs are {self._graph_names}.")

    @property
    def _graph_names(self) -> str:
        return ", ".join(self.graph_ids)
