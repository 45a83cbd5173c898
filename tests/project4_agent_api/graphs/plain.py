"""Give back what it was given, whatever that is; and ask before, where it is told to."""

from langgraph.func import entrypoint
from langgraph.types import interrupt


@entrypoint()
async def graph(given: object) -> object:
    """Give it back."""
    return interrupt("Which?") if given == "ask" else given
