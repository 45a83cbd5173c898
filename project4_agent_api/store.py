"""temporary"""

from contextlib import asynccontextmanager

from langgraph.store.memory import InMemoryStore


def OwnedStore(store, owner_id):
    return store


@asynccontextmanager
async def create_store(pool, settings, embeddings):
    yield InMemoryStore()
