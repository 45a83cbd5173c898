from typing import Annotated


def reduce_docs(existing: list[str] | None, new: list[str] | str) -> list[str]:
    if new == "delete":
        return []
    return (existing or []) + ([new] if isinstance(new, str) else new)


Docs = Annotated[list[str], reduce_docs]
