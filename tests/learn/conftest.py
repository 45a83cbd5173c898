"""Fixtures of the course's tests."""

import asyncio

import pytest

from learn.facts import Facts, read_facts
from learn.stages import STAGES


@pytest.fixture(scope="session")
def facts() -> list[Facts]:
    """Facts of all stages, for which an embedded database is migrated once."""
    return asyncio.run(read_facts(list(STAGES)))
