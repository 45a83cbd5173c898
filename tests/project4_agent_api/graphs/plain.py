"""Give back what it was given, or a part of that, whatever it is; but ask, or give nothing, where it is told to."""

from langgraph.func import entrypoint
from langgraph.types import interrupt


@entrypoint()
async def graph(given: object) -> object:
    """Give it back."""
    if given == "ask":
        return interrupt("Which?")
    if isinstance(given, dict) and "give" in given:
        return given["give"]
    return None if given == "nothing" else given
