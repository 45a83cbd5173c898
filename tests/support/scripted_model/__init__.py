"""An OpenAI-compatible model server on a real socket with scripted responses, which keeps the requests it saw.

It speaks HTTP itself, so that it can do what no framework lets a server do: break off, send garbage, say nothing. And
it checks each request as a real endpoint does (`profiles.py`), so that a test fails where a real conversation would.
"""

from tests.support.scripted_model.behaviours import (
    MODEL,
    calls,
    chunk,
    embedding_of,
    embeds,
    fails,
    hangs,
    in_turn,
    refuses,
    resets_after,
    says,
    sends,
    sends_json,
    speaks,
    streams,
    until_released,
)
from tests.support.scripted_model.connection import Behaviour, Connection, Seen
from tests.support.scripted_model.profile import Profile
from tests.support.scripted_model.profiles import PROFILES
from tests.support.scripted_model.server import ScriptedModel
from tests.support.scripted_model.strictness import Violation

__all__ = [
    "MODEL",
    "PROFILES",
    "Behaviour",
    "Connection",
    "Profile",
    "ScriptedModel",
    "Seen",
    "Violation",
    "calls",
    "chunk",
    "embedding_of",
    "embeds",
    "fails",
    "hangs",
    "in_turn",
    "refuses",
    "resets_after",
    "says",
    "sends",
    "sends_json",
    "speaks",
    "streams",
    "until_released",
]
