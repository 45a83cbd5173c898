"""The names of assistants' tools in MCP."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from project4_agent_api.assistants.resolution import built_in_assistant_id
from project4_agent_api.models import Assistant
from shared.pagination import decode_cursor, encode_cursor

SEARCH = "search_documents"
_MAX_NAME = 64
_NAME_PART = 32
_NAME_WITH_ID = re.compile("[A-Za-z0-9_-]{0,32}_([A-Za-z0-9_-]{22})")


@dataclass(frozen=True)
class ToolNames:
    """The names of assistants' tools.

    A built-in assistant's tool has the name of its graph. The others' end with the assistant's id, so that a new
    assistant never changes the meaning of a name: clients store which tools may be called without asking.

    Attributes:
        of_graphs: The names of built-in assistants' tools, by their graphs.
    """

    of_graphs: Mapping[str, str]

    @classmethod
    def for_graphs(cls, graph_ids: Sequence[str]) -> "ToolNames":
        """Choose the names. Graphs whose names would be the same have names with ids."""
        counts = Counter([SEARCH, *map(_plain, graph_ids)])
        return cls({graph_id: _plain(graph_id) for graph_id in graph_ids if counts[_plain(graph_id)] == 1})

    def name(self, assistant: Assistant) -> str:
        """Return the name of an assistant's tool."""
        if assistant.owner_id is None and assistant.graph_id in self.of_graphs:
            return self.of_graphs[assistant.graph_id]
        return f"{_plain(assistant.name)[:_NAME_PART]}_{encode_cursor(assistant.assistant_id)}"

    def assistant_id(self, name: str) -> UUID | None:
        """Return the id of the assistant whose tool may have a name; None if no tool has it."""
        for graph_id, plain in self.of_graphs.items():
            if plain == name:
                return built_in_assistant_id(graph_id)
        match = _NAME_WITH_ID.fullmatch(name)
        return decode_cursor(match[1]) if match else None


def _plain(name: str) -> str:
    return re.sub("[^A-Za-z0-9_-]", "_", name)[:_MAX_NAME]
