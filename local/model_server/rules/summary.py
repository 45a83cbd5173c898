"""Summarizing a text by its most typical sentences.

SumBasic (Nenkova and Vanderwende, 2005): the probability of a word is its share of all words. The sentence whose words
are the most probable on average is taken; then the probabilities of its words are squared, so that the next one says
something else.
"""

import re
from collections import Counter
from collections.abc import Sequence

from local.model_server.rules.messages import Message, last_user_text, system_text
from local.model_server.rules.text import is_chinese, sentences, terms

_ASKED = re.compile(r"\bsummar(?:y|ies|i[sz]e)|\btl;?dr\b|摘要|总结|概括|概述", re.IGNORECASE)
_ENCLOSED = re.compile(r"<(text|document|article|content)\b[^<>\n]{0,400}>\s*(.*)</\1>", re.DOTALL | re.IGNORECASE)
_END = re.compile(r"[.!?。！？][\"'”’)\]」』）]{0,3}$")
_LEAST_WORDS = 4
_MOST_READ = 2000  # sentences
_LEAST, _MOST, _SHARE = 3, 8, 6  # sentences of a summary: one of six


def text_to_summarize(messages: Sequence[Message]) -> str:
    """Return the enclosed text of the last user message if the other text asks for its summary, or an empty string."""
    user = last_user_text(messages)
    enclosed = _ENCLOSED.search(user)
    if enclosed is None:
        return ""
    instructions = system_text(messages) + user[: enclosed.start()] + user[enclosed.end() :]
    return enclosed[2] if _ASKED.search(instructions) else ""


def summarize(text: str) -> str | None:
    """Return a few sentences of a text in their order; None if it has none."""
    words = {sentence: terms(sentence) for sentence in sentences(text)}
    complete = [sentence for sentence in words if len(words[sentence]) >= _LEAST_WORDS and _END.search(sentence)]
    found = (complete or [sentence for sentence in words if len(words[sentence]) >= _LEAST_WORDS])[:_MOST_READ]
    place = {sentence: number for number, sentence in enumerate(found)}
    counts = Counter(word for sentence in found for word in words[sentence])
    weights = {word: count / counts.total() for word, count in counts.items()}

    def weight(sentence: str) -> float:
        lead = 1 + 1 / (1 + place[sentence])  # texts begin with what matters
        return lead * sum(weights[word] for word in words[sentence]) / len(words[sentence])

    taken: list[str] = []
    for _ in range(min(len(found), max(_LEAST, min(_MOST, len(found) // _SHARE)))):
        taken.append(max((sentence for sentence in found if sentence not in taken), key=weight))
        weights |= {word: weights[word] ** 2 for word in words[taken[-1]]}
    return ("" if is_chinese(text) else " ").join(sorted(taken, key=lambda sentence: place[sentence])) or None
