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
        self.summary = self.summarize(self.summary, turn)

    def messages(self) -> list[AnyMessage]:
        """Return the messages for the model: one system message "Summary so far: …", or none yet."""
        return [SystemMessage(f"Summary so far: {self.summary}")] if self.summary else []


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
        self.recent.append(turn)
        folded: list[AnyMessage] = []
        while len(self.recent) > 1 and self._tokens() > self.budget:
            folded += self.recent.pop(0)
        if folded:
            self.summary = self.summarize(self.summary, folded)

    def messages(self) -> list[AnyMessage]:
        """Return the summary, if there is one, and the messages of the recent turns."""
        head: list[AnyMessage] = [SystemMessage(f"Summary so far: {self.summary}")] if self.summary else []
        return head + [message for turn in self.recent for message in turn]

    def _tokens(self) -> int:
        return sum(self.count(message) for turn in self.recent for message in turn)
