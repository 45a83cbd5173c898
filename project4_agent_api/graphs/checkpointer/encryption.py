"""Encryption of checkpoints at rest, in the format of LangGraph's `EncryptedSerializer`: AES in EAX mode."""

import asyncio

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from loguru import logger
from psycopg.errors import UndefinedTable

from project4_agent_api.core.postgres import Pool, fetch_one
from shared.errors import ConfigurationError, DatabaseUnavailable

_CHECK_SECONDS = 2.0
# Blobs are ordered by their threads, whose ids increase with time.
_NEWEST = "SELECT type, blob FROM checkpoint_blobs WHERE blob IS NOT NULL ORDER BY thread_id DESC LIMIT 1"


def create_serializer(key: str) -> SerializerProtocol:
    """Create the serializer of checkpoints. With a key it encrypts; values without encryption stay readable.

    Args:
        key: For AES: 16, 24 or 32 bytes, or none.
    """
    serializer = JsonPlusSerializer()
    if not key:
        return serializer
    return EncryptedSerializer.from_pycryptodome_aes(serializer, key=key.encode())


async def require_key(pool: Pool, serializer: SerializerProtocol) -> None:
    """Check that a serializer can read the state of the newest thread.

    Servers start in any order: while the database is unavailable or has no tables, nothing is checked.

    Raises:
        ConfigurationError: if it lacks the key, or has another.
    """
    try:
        async with asyncio.timeout(_CHECK_SECONDS):
            row = await fetch_one(pool, _NEWEST)
    except (DatabaseUnavailable, UndefinedTable, TimeoutError) as error:
        logger.warning("LANGGRAPH_AES_KEY is not checked: {}", type(error).__name__)
        return
    cipher = row["type"].partition("+")[2] if row else ""
    if row is None or not cipher:
        return
    if not isinstance(serializer, EncryptedSerializer):
        raise ConfigurationError("LANGGRAPH_AES_KEY is not set, but stored threads are encrypted with it")
    try:
        serializer.cipher.decrypt(cipher, row["blob"])
    except ValueError:
        raise ConfigurationError("LANGGRAPH_AES_KEY is not the key with which stored threads are encrypted") from None
