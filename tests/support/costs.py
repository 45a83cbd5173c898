"""Work that a service does once, or expensively on purpose, and that tests would repeat thousands of times."""

import gc
from functools import cache
from importlib.util import find_spec

import httpcore2
import httpx
import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher


def reduce_costs() -> None:
    """Hash passwords with a fiftieth of the memory, and share the TLS contexts of HTTP clients, in this process.

    A password hash takes 60 ms of a core, and to read the certificates of all authorities takes each new client 20 ms.
    """
    patch = pytest.MonkeyPatch()
    if find_spec("project2_user_mgmt"):  # a learner's working copy of project 1 is without it
        hasher = PasswordHash((Argon2Hasher(memory_cost=1024, time_cost=1, parallelism=1),))
        patch.setattr("project2_user_mgmt.passwords._HASHER", hasher)
    patch.setattr("httpx._transports.default.create_ssl_context", cache(httpx.create_ssl_context))
    patch.setattr(httpcore2, "default_ssl_context", cache(httpcore2.default_ssl_context))


def pytest_configure() -> None:
    """Disable garbage collection while test modules are imported: it would take a quarter of their collection time."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Enable garbage collection again, but exclude the imported objects."""
    gc.freeze()
    gc.enable()
