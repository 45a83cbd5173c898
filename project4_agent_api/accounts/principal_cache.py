"""What this process remembers of the accounts behind tokens and keys, and how all processes forget it at once.

Redis holds a stamp for each account, which is read in the call that counts a request. What PostgreSQL said is trusted
as long as the stamp is the one that was there before PostgreSQL was asked, and for `LEASE_SECONDS` at the most. Whoever
changes an account removes the stamp after the commit and before the answer: from then on nobody trusts what was
remembered. Where Redis cannot be told, the answer waits until nobody can remember it any more.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, Generic, TypeVar
from uuid import UUID

from loguru import logger

from project4_agent_api.core.caches import CacheCounters
from project4_agent_api.core.rate_limits import STAMP_SECONDS, new_stamp
from shared.errors import Unauthorized
from shared.redis.client import REDIS_FAILS, Client, Outage

LEASE_SECONDS = 5.0
_MOST = 10_000  # tokens and keys of one process; an entry takes about 1 kB
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Known(Generic[T]):
    """What is remembered of a token or a key.

    Attributes:
        what: That.
        stamp: Of the account, before PostgreSQL was asked; None where Redis was away.
        until: When it is not to be trusted any more, by the monotonic clock.
    """

    what: T
    stamp: bytes | None
    until: float

    def holds(self, stamp: bytes | None) -> bool:
        """Whether it is still to be trusted, given the stamp that there is now."""
        return stamp is not None and stamp == self.stamp and monotonic() < self.until


@dataclass(frozen=True, slots=True)
class _Asking(Generic[T]):
    task: "asyncio.Task[T]"
    until: float


class KnownAccounts(Generic[T]):
    """Remembers accounts, and makes others forget them.

    Args:
        client: Of Redis.

    Attributes:
        counters: How often what was remembered could be trusted.
    """

    def __init__(self, client: Client) -> None:
        self._redis = client
        self._known: OrderedDict[str, Known[T]] = OrderedDict()
        self._asking: dict[tuple[str, bytes], _Asking[T]] = {}
        self._outage = Outage("PostgreSQL is asked for the account behind every request")
        self.counters = CacheCounters()

    def get(self, credential: str) -> Known[T] | None:
        """Return what is remembered, whether it can be trusted or not."""
        return self._known.get(credential)

    def drop(self, credential: str) -> None:
        """Remember nothing of a token or a key."""
        self._known.pop(credential, None)

    async def learn(
        self, credential: str, stamp: bytes | None, ask: Callable[[], Coroutine[Any, Any, tuple[T, float]]]
    ) -> T:
        """Ask PostgreSQL, and remember what it says. Who wants to know the same meanwhile waits for the same answer.

        An account that asks much would take every connection of the database whenever a lease is over, otherwise.

        Args:
            credential: Behind which the account is.
            stamp: Of the account, as it is now; None if nobody knows it.
            ask: Returns what PostgreSQL says, and for how many seconds that is so.

        Raises:
            Unauthorized: if that is nobody; whatever else `ask` raises.
        """
        if stamp is None:
            return await self._learn(credential, stamp, ask)
        asking = self._asking.get((credential, stamp))
        # By the stamp and the lease no answer is too old for a request of which it would be if it was remembered.
        if asking is None or monotonic() >= asking.until:
            task = asyncio.create_task(self._learn(credential, stamp, ask))
            asking = self._asking[credential, stamp] = _Asking(task, monotonic() + LEASE_SECONDS)
            task.add_done_callback(partial(self._learned, (credential, stamp)))
        return await asyncio.shield(asking.task)  # the first who asked may leave before the answer

    async def _learn(
        self, credential: str, stamp: bytes | None, ask: Callable[[], Coroutine[Any, Any, tuple[T, float]]]
    ) -> T:
        asked_at = monotonic()
        try:
            what, seconds = await ask()
        except Unauthorized:
            self.drop(credential)
            raise
        self._known[credential] = Known(what, stamp, asked_at + min(LEASE_SECONDS, seconds))
        self._known.move_to_end(credential)
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return what

    def _learned(self, which: tuple[str, bytes], task: "asyncio.Task[T]") -> None:
        asking = self._asking.get(which)
        if asking and asking.task is task:
            del self._asking[which]

    async def stamp(self, account_id: UUID) -> bytes | None:
        """Return an account's stamp, a new one if there is none; None while Redis is away."""
        if not self._outage.ask():
            return None
        name = self._redis.key(stamp_of(account_id))
        try:
            async with self._redis.pipeline() as pipeline:
                pipeline.set(name, new_stamp(), nx=True, ex=STAMP_SECONDS)
                pipeline.get(name)
                _, stamp = await pipeline.execute()
        except REDIS_FAILS as error:
            self._outage.goes_on(error)
            return None
        self._outage.is_over()
        return bytes(stamp)

    async def changed(self, account_id: UUID) -> None:
        """Say that an account, a sign-in or a key of it has changed: after the commit, and before the answer."""
        await forget_account(self._redis, account_id)


async def forget_account(client: Client, account_id: UUID) -> None:
    """Let no process trust what it remembers of an account. Returns when none does."""
    try:
        await client.delete(client.key(stamp_of(account_id)))
    except REDIS_FAILS as error:
        logger.warning("a change of an account waits {} s to hold: {}", LEASE_SECONDS, type(error).__name__)
        await asyncio.sleep(LEASE_SECONDS)


def stamp_of(account_id: UUID) -> str:
    """Return the name of an account's stamp."""
    return f"account:{account_id}"
