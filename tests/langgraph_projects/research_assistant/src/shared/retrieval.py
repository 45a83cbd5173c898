from langgraph.config import get_store

from shared.state import Docs  # noqa: F401  for users of this module

NAMESPACE = ("docs",)


async def add(docs: list[str]) -> None:
    for doc in docs:
        await get_store().aput(NAMESPACE, doc, {"text": doc}, index=False)


async def search(word: str) -> list[str]:
    from shared.words import mentions  # noqa: PLC0415  late, as in many projects

    return [item.value["text"] for item in await get_store().asearch(NAMESPACE) if mentions(item.value["text"], word)]
