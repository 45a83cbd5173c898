"""Encryption of checkpoints at rest, in the format of LangGraph's `EncryptedSerializer`: AES in EAX mode."""

import contextlib

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from psycopg import AsyncConnection
from psycopg.errors import UndefinedTable
from psycopg.rows import dict_row

from project4_agent_api.core.postgres import Row, fetch_one
from project4_agent_api.settings import Settings
from shared.database.driver import conninfo
from shared.database.errors import database_errors
from shared.errors import ConfigurationError, DatabaseUnavailable

# Blobs are ordered by their threads. Ids that the service makes increase with time; clients may choose others.
_NEWEST = """
    SELECT type, CASE WHEN type LIKE '%%+%%' THEN blob END AS blob FROM checkpoint_blobs
    WHERE blob IS NOT NULL ORDER BY thread_id DESC LIMIT 1
"""


def create_serializer(key: str) -> SerializerProtocol:
    """Create the serializer of checkpoints. With a key it encrypts; values without encryption stay readable.

    Args:
        key: For AES: 16, 24 or 32 bytes, or none.
    """
    serializer = JsonPlusSerializer()
    if not key:
        return serializer
    return EncryptedSerializer.from_pycryptodome_aes(serializer, key=key.encode())


async def check_key(settings: Settings) -> None:
    """Check at startup that the key can read the state of one thread, the newest if the service has made all their ids.

    An unavailable database is not waited for.

    Raises:
        ConfigurationError: if the key is missing, or another one.
    """
    with contextlib.suppress(DatabaseUnavailable, UndefinedTable), database_errors():  # reads of states check again
        async with await AsyncConnection.connect(
            conninfo(settings), autocommit=True, row_factory=dict_row
        ) as connection:
            row = await fetch_one(connection, _NEWEST)
        _require_key(row, create_serializer(settings.langgraph_aes_key.get_secret_value()))


def _require_key(stored: Row | None, serializer: SerializerProtocol) -> None:
    cipher = stored["type"].partition("+")[2] if stored else ""
    if stored is None or not cipher:
        return
    if not isinstance(serializer, EncryptedSerializer):
        raise ConfigurationError("LANGGRAPH_AES_KEY is not set, but stored threads are encrypted with it")
    try:
        serializer.cipher.decrypt(cipher, stored["blob"])
    except ValueError:
        raise ConfigurationError("LANGGRAPH_AES_KEY is not the key with which stored threads are encrypted") from None
