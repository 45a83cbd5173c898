"""Choose the messages that a model gets to see: all of them, the last turns, or as many as a budget allows."""

from collections.abc import Callable, Sequence

from langchain_core.messages import AnyMessage


def buffer(history: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Return the whole history (what ConversationBufferMemory did), in a new list."""
    return list(history)


def window(history: Sequence[AnyMessage], turns: int) -> list[AnyMessage]:
    """Return the last `turns` turns (ConversationBufferWindowMemory).

    A turn is a human message with everything up to the next one.
    """
    starts = [place for place, message in enumerate(history) if message.type == "human"]
    if turns <= 0 or not starts:
        return []
    return list(history[starts[-turns:][0] :])


def within(history: Sequence[AnyMessage], budget: int, count: Callable[[AnyMessage], int]) -> list[AnyMessage]:
    """Return the longest end of the history that begins with a human message and has at most `budget` tokens.

    This is what ConversationTokenBufferMemory did.
    """
    start, used = len(history), 0
    for place in reversed(range(len(history))):
        used += count(history[place])
        if used > budget:
            break
        if history[place].type == "human":
            start = place
    return list(history[start:])
