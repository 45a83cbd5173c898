"""Replace old messages by a summary: always (summary memory), or only those beyond a budget (summary buffer)."""

from collections.abc import Callable
from dataclasses import dataclass, field

from langchain_core.messages import AnyMessage, SystemMessage

Summarize = Callable[[str, list[AnyMessage]], str]  # the old summary and the messages to add; a call of a model


@dataclass
class SummaryMemory:
    """Keep a summary only: each turn is folded into it (ConversationSummaryMemory)."""

    summarize: Summarize
    summary: str = ""

    def add(self, turn: list[AnyMessage]) -> None:
        """Fold a turn into the summary."""
        # TODO: the new summary comes from the old one and the turn
        #       新的摘要由旧摘要和这一轮对话得出

    def messages(self) -> list[AnyMessage]:
        """Return the messages for the model: one system message "Summary so far: …", or none yet."""
        # TODO: a list of one SystemMessage, or an empty list
        #       只含一条 SystemMessage 的列表，或空列表
        return []


@dataclass
class SummaryBufferMemory:
    """Keep the newest turns as they are, and a summary of the older ones (ConversationSummaryBufferMemory).

    Attributes:
        budget: The tokens that `recent` may have; the last turn is kept in any case.
    """

    summarize: Summarize
    count: Callable[[AnyMessage], int]
    budget: int
    summary: str = ""
    recent: list[list[AnyMessage]] = field(default_factory=list)

    def add(self, turn: list[AnyMessage]) -> None:
        """Store a turn, and fold the oldest turns into the summary while the recent ones exceed the budget."""
        # TODO: collect the turns to fold, and summarize them with one call
        #       收集要折叠的各轮对话，用一次调用生成摘要
        self.recent.append(turn)

    def messages(self) -> list[AnyMessage]:
        """Return the summary, if there is one, and the messages of the recent turns."""
        # TODO: the SystemMessage, if there is a summary; then all messages of `recent`
        #       有摘要时先放 SystemMessage，再放 recent 里的全部消息
        return []
