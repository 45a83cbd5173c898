"""The table of idempotency keys: claiming a key under a lease, and storing the response of its request."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from loguru import logger
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from project4_agent_api.core.idempotency_messages import RecordedResponse
from project4_agent_api.core.postgres import Connection, Pool, connected, execute, fetch_one
from shared.errors import Conflict, ServiceError


@dataclass(frozen=True)
class Claim:
    """A key that is claimed by a request.

    Attributes:
        token: Identifies the request. Only the holder of the latest token may change the row.
        created_id: Id for the run that the request creates, if it creates one.
    """

    row_id: str
    token: UUID
    created_id: UUID

    async def mark_created(self, connection: Connection) -> None:
        """Record, in the transaction that creates runs, that they exist: they are never created again.

        Raises:
            Conflict: if the lease expired, and another request has claimed the key.
        """
        statement = "UPDATE idempotency_keys SET made = true WHERE id = %s AND claim = %s"
        if not await execute(connection, statement, [self.row_id, self.token]):
            raise Conflict("Another request with this Idempotency-Key is in progress.", headers={"Retry-After": "1"})


@dataclass(frozen=True)
class KeyState:
    """The row of a key after an attempt to claim it.

    Attributes:
        new: Whether this request is the first with the key.
        claimed: Whether this request holds the claim: as the first, or because an earlier claim has expired.
        created: Whether the operation is known to have created something.
        leased: Whether the current claim has not expired.
        body: None without a stored response, and for an event stream.
    """

    claim: Claim
    new: bool
    claimed: bool
    created: bool
    leased: bool
    fingerprint: str | None
    status: int | None
    headers: dict[str, str] | None
    body: bytes | None


@dataclass(frozen=True)
class IdempotencyKeys:
    """The keys of all users.

    Attributes:
        lease_seconds: Seconds after which a claim expires that is not extended.
    """

    pool: Pool
    lease_seconds: float

    async def claim(self, row_id: str, owner_id: UUID, fingerprint: str | None) -> KeyState:
        """Claim a key that is new, or whose claim has expired. Otherwise, return its state."""
        token, created_id = uuid4(), uuid7()
        parameters = {
            "id": row_id,
            "owner": owner_id,
            "fingerprint": fingerprint,
            "claim": token,
            "made_id": created_id,
            "lease": self.lease_seconds,
        }
        async with connected(self.pool) as connection:
            while True:
                claimed = await fetch_one(connection, _CLAIM, parameters)
                row = claimed or await fetch_one(connection, _SELECT, parameters)
                if row is not None:  # else the key was released between the two statements
                    break
        return KeyState(
            claim=Claim(row["id"], row["claim"], row["made_id"]),
            new=row["claim"] == token and row["made_id"] == created_id,
            claimed=claimed is not None,
            created=row["made"],
            leased=row["held"],
            **{name: row[name] for name in ("fingerprint", "status", "headers", "body")},
        )

    async def extend(self, claim: Claim) -> None:
        """Extend the lease of a claim."""
        await self._update(
            """
            UPDATE idempotency_keys SET lease_until = now() + make_interval(secs => %(lease)s)
            WHERE id = %(id)s AND claim = %(claim)s
            """,
            claim,
            lease=self.lease_seconds,
        )

    async def expire(self, claim: Claim) -> None:
        """End the lease of a claim, so that the request can be repeated."""
        await self._update(
            "UPDATE idempotency_keys SET lease_until = now() WHERE id = %(id)s AND claim = %(claim)s", claim
        )

    async def release(self, claim: Claim) -> None:
        """Delete a key whose request has created nothing."""
        await self._update("DELETE FROM idempotency_keys WHERE id = %(id)s AND claim = %(claim)s AND NOT made", claim)

    async def store_response(self, claim: Claim, response: RecordedResponse, fingerprint: str) -> None:
        """Store the response of a successful request."""
        await self._update(
            """
            UPDATE idempotency_keys SET status = %(status)s, headers = %(headers)s, body = %(body)s, made = true,
                fingerprint = %(fingerprint)s
            WHERE id = %(id)s AND claim = %(claim)s
            """,
            claim,
            status=response.status,
            headers=Jsonb(response.headers),
            body=response.body(),
            fingerprint=fingerprint,
        )

    async def thread_of_run(self, owner_id: UUID, run_id: UUID) -> UUID | None:
        """Return the thread of a run, or None if the run does not exist."""
        statement = "SELECT thread_id FROM runs WHERE run_id = %s AND owner_id = %s"
        row = await fetch_one(self.pool, statement, [run_id, owner_id])
        return row["thread_id"] if row else None

    async def _update(self, statement: str, claim: Claim, **values: Any) -> None:
        """Update the row of a claim. If the database is unavailable, the claim ends with its lease."""
        try:
            await execute(self.pool, statement, {"id": claim.row_id, "claim": claim.token, **values})
        except ServiceError as error:
            logger.warning("idempotency key not updated, its lease will expire: {}", error.detail)


_CLAIM = """
    INSERT INTO idempotency_keys AS known (id, owner_id, fingerprint, claim, made_id, made, lease_until, created_at)
    VALUES (%(id)s, %(owner)s, %(fingerprint)s, %(claim)s, %(made_id)s, false,
        now() + make_interval(secs => %(lease)s), now())
    ON CONFLICT (id) DO UPDATE SET claim = excluded.claim, lease_until = excluded.lease_until,
        fingerprint = excluded.fingerprint
    WHERE known.status IS NULL AND NOT known.made AND known.lease_until < now()
        AND (known.fingerprint IS NULL OR known.fingerprint = excluded.fingerprint)
    RETURNING id, claim, made_id, made, true AS held, fingerprint, status, headers, body
"""
_SELECT = """
    SELECT id, claim, made_id, made, lease_until > now() AS held, fingerprint, status, headers, body
    FROM idempotency_keys WHERE id = %(id)s
"""
