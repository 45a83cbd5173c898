"""Passwords: hashed with Argon2id, in threads that leave the event loop its processor."""

import asyncio
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import SecretStr

# One of the equally strong settings that OWASP recommends, with one thread for a hash:
# https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id
_HASHER = PasswordHash((Argon2Hasher(memory_cost=47_104, time_cost=1, parallelism=1),))
_BACKGROUND = 10  # nice(2): whoever waits for anything else comes first


def _step_back() -> None:
    """Lower this thread's priority, where a thread has one of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _BACKGROUND)


# A hash takes a core for tens of milliseconds on purpose. Sixteen at once on two cores would leave everything else a
# seventeenth; so there are fewer threads than cores, and what is over waits.
_THREADS = ThreadPoolExecutor(max(1, (os.cpu_count() or 2) - 1), thread_name_prefix="password", initializer=_step_back)


async def hash_password(password: SecretStr) -> str:
    """Hash a password with Argon2id, in a thread."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, _HASHER.hash, password.get_secret_value())


async def verify_password(password: SecretStr, password_hash: str | None) -> bool:
    """Say whether a password is the one that was hashed, in a thread.

    Where there is no hash it is not; that takes as long, so that nobody learns from the time who has an account.
    """

    def verify() -> bool:
        given = password.get_secret_value()
        if password_hash is None:
            _HASHER.hash(given)  # the same computation
            return False
        return _HASHER.verify(given, password_hash)

    return await asyncio.get_running_loop().run_in_executor(_THREADS, verify)
