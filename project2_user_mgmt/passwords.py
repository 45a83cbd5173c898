"""Password hashing with Argon2id, in low-priority threads."""

import asyncio
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import SecretStr

# One of the equivalent parameter sets that OWASP recommends, with one thread per hash:
# https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id
_HASHER = PasswordHash((Argon2Hasher(memory_cost=47_104, time_cost=1, parallelism=1),))
_LOW_PRIORITY = 10  # see nice(2): all other requests come first


def _lower_priority() -> None:
    """Lower the priority of this thread, on platforms where threads have their own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOW_PRIORITY)


# A hash deliberately occupies a core for tens of milliseconds. Sixteen at once on two cores would leave a seventeenth
# of the time to everything else, so there are fewer threads than cores, and further hashes wait.
_THREADS = ThreadPoolExecutor(
    max(1, (os.cpu_count() or 2) - 1), thread_name_prefix="password", initializer=_lower_priority
)


async def hash_password(password: SecretStr) -> str:
    """Hash a password with Argon2id, in a thread."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, _HASHER.hash, password.get_secret_value())


async def verify_password(password: SecretStr, password_hash: str | None) -> bool:
    """Return whether a password matches a hash, in a thread.

    Without a hash the result is False after the same time, so that the duration reveals no accounts.
    """

    def verify() -> bool:
        plain = password.get_secret_value()
        if password_hash is None:
            _HASHER.hash(plain)  # takes as long as `verify`
            return False
        return _HASHER.verify(plain, password_hash)

    return await asyncio.get_running_loop().run_in_executor(_THREADS, verify)
