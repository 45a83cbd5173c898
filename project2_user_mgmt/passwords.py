"""Password hashing with Argon2id, in low-priority threads.

Devices send one and the same password in different forms: `é` as one character or as two, a digit in full width. Before
it is hashed, a password is therefore normalized to NFKC, as NIST SP 800-63B recommends. RFC 8265 (OpaqueString) asks
for NFC, and for ASCII spaces, which NFKC makes of the other spaces too. Case and control characters stay as they are.
"""

import asyncio
import os
import sys
import threading
import unicodedata
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


def normalize(password: SecretStr) -> str:
    """Return the form of a password that is hashed."""
    return unicodedata.normalize("NFKC", password.get_secret_value())


async def hash_password(password: SecretStr) -> str:
    """Hash a password with Argon2id, in a thread."""
    return await asyncio.get_running_loop().run_in_executor(_THREADS, _HASHER.hash, normalize(password))


async def verify_and_update(password: SecretStr, password_hash: str | None) -> tuple[bool, str | None]:
    """Return whether a password matches a hash, and a hash to store instead if it is outdated. Runs in a thread.

    Older hashes are of the password as it was sent. Without a hash the result is False after the same time, so that the
    duration reveals no accounts.
    """

    def verify() -> tuple[bool, str | None]:
        normalized, sent = normalize(password), password.get_secret_value()
        forms = [normalized] if normalized == sent else [normalized, sent]
        for form in forms:
            if password_hash is None:
                _HASHER.hash(form)  # takes as long as `verify`
            elif _HASHER.verify(form, password_hash):
                return True, None if form == normalized else _HASHER.hash(normalized)
        return False, None

    return await asyncio.get_running_loop().run_in_executor(_THREADS, verify)
