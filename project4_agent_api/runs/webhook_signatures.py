"""Signatures of webhook calls, in the headers of Standard Webhooks (https://www.standardwebhooks.com).

A user's secret is derived from a key of the service and a random salt, and only the salt is stored: neither a copy of
the database nor the key alone reveals it. After a rotation, calls have the signatures of both secrets for some time.
"""

import base64
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from project4_agent_api.core.postgres import Connection, Pool, Row, execute, fetch_one
from project4_agent_api.settings import Settings

_PURPOSE = b"webhook secret\0"


@dataclass(frozen=True)
class WebhookSecrets:
    """The secrets of users, one for each.

    Args:
        key: Key of the service, from which the secrets are derived.
    """

    key: bytes

    @classmethod
    def from_settings(cls, settings: Settings) -> "WebhookSecrets":
        """Use `WEBHOOK_KEY`, or the key of the access tokens."""
        key = settings.webhook_key.get_secret_value() or settings.jwt_secret.get_secret_value()
        return cls(key.encode())

    async def rotate(self, connection: Connection, owner_id: UUID, previous_hours: int) -> tuple[str, Row]:
        """Create a user's secret, or replace it, and return it with its row.

        Args:
            previous_hours: Time for which calls are also signed with the previous secret.
        """
        salt = secrets.token_hex(16)
        row = await fetch_one(connection, _ROTATE, {"owner": owner_id, "salt": salt, "hours": previous_hours})
        assert row is not None  # noqa: S101  the statement returns a row
        return self._secret(owner_id, salt), row

    def headers(
        self, owner_id: UUID, salts: Sequence[str], message_id: str, sent_at: datetime, body: bytes
    ) -> list[tuple[bytes, bytes]]:
        """Return the headers that identify and sign a call.

        Args:
            salts: Salts of the valid secrets; empty if the user has none.
            message_id: Equal in all attempts of a call.
            sent_at: Time of this attempt.
        """
        timestamp = str(int(sent_at.timestamp()))
        headers = [(b"webhook-id", message_id.encode()), (b"webhook-timestamp", timestamp.encode())]
        if salts:
            content = b".".join([message_id.encode(), timestamp.encode(), body])
            digests = [hmac.digest(self._key_of(owner_id, salt), content, "sha256") for salt in salts]
            signatures = b" ".join(b"v1," + base64.b64encode(digest) for digest in digests)
            headers.append((b"webhook-signature", signatures))
        return headers

    def _secret(self, owner_id: UUID, salt: str) -> str:
        return "whsec_" + base64.b64encode(self._key_of(owner_id, salt)).decode()

    def _key_of(self, owner_id: UUID, salt: str) -> bytes:
        return hmac.digest(self.key, _PURPOSE + owner_id.bytes + salt.encode(), "sha256")


async def load_secret(pool: Pool, owner_id: UUID) -> Row | None:
    """Return when a user's secret was created, and until when the previous one is valid; None if there is none."""
    return await fetch_one(pool, _LOAD, [owner_id])


async def delete_secret(connection: Connection, owner_id: UUID) -> None:
    """Delete a user's secret: further calls have no signature."""
    await execute(connection, "DELETE FROM webhook_secrets WHERE user_id = %s", [owner_id])


_FIELDS = "created_at, CASE WHEN previous_valid_until > now() THEN previous_valid_until END AS previous_valid_until"
_LOAD = f"SELECT {_FIELDS} FROM webhook_secrets WHERE user_id = %s"  # noqa: S608  a constant
_ROTATE = f"""
    INSERT INTO webhook_secrets AS stored (user_id, salt, created_at) VALUES (%(owner)s, %(salt)s, now())
    ON CONFLICT (user_id) DO UPDATE SET
        salt = EXCLUDED.salt,
        created_at = EXCLUDED.created_at,
        previous_salt = stored.salt,
        previous_valid_until = now() + make_interval(hours => %(hours)s)
    RETURNING {_FIELDS}
"""  # noqa: S608  a constant
