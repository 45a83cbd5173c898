"""The few sentences that the rules say themselves, English and Chinese."""

from collections.abc import Sequence

from local.model_server.rules.quoting import Quote
from local.model_server.rules.text import is_chinese


def quoted_answer(quotes: Sequence[Quote]) -> str:
    """Write sentences down word for word, each with the number of its passage: `Paris is the capital. [2]`."""
    return " ".join(f"{quote.text} [{quote.number}]" for quote in quotes)


def does_not_say(question: str) -> str:
    """Say in the language of the question that the passages do not answer it."""
    return "这些段落中没有提到这个问题的答案。" if is_chinese(question) else "The passages do not say."
