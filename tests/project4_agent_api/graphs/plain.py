"""Return the input, or a part of it, of any type; but ask, or return nothing, if the input requests it."""

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
