"""Give back what it was given, whatever that is; but ask, or give nothing, where it is told to."""

from langgraph.func import entrypoint
from langgraph.types import interrupt


@entrypoint()
async def graph(given: object) -> object:
    """Give it back."""
    if given == "ask":
        return interrupt("Which?")
    return None if given == "nothing" else given
