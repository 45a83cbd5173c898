"""Choose the messages that a model gets to see: all of them, the last turns, or as many as a budget allows."""

from collections.abc import Callable, Sequence

from langchain_core.messages import AnyMessage


def buffer(history: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Return the whole history (what ConversationBufferMemory did), in a new list."""
    # TODO: one line
    #       一行即可
    return []


def window(history: Sequence[AnyMessage], turns: int) -> list[AnyMessage]:
    """Return the last `turns` turns (ConversationBufferWindowMemory).

    A turn is a human message with everything up to the next one.
    """
    # TODO: find where the turns begin, and cut there
    #       找到每一轮对话的开头，从那里截断
    return list(history)


def within(history: Sequence[AnyMessage], budget: int, count: Callable[[AnyMessage], int]) -> list[AnyMessage]:
    """Return the longest end of the history that begins with a human message and has at most `budget` tokens.

    This is what ConversationTokenBufferMemory did.
    """
    # TODO: go backwards, add up the tokens, and remember the last human message that still fits
    #       从后往前累加 token 数，记住最后一条还放得下的 human 消息
    return list(history)
