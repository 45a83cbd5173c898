"""Whether what a search found has to do with the question: the search always finds something.

The scores of a search are ranks, and a cosine says little by itself: an embedding model of one kind gives .75 to texts
that have nothing to do with each other, one of another kind .1. So the cosine of the best passage is measured by those
of a few sentences about nothing in particular, with the same question:

    relevance = (best - usual) / (1 - usual)        0: as any text is; 1: the same text

Measured with multilingual-e5-small on the example documents, eight questions that they answer and eight that they do
not: by the bare cosine .80 to .88 and .75 to .83, by this .29 to .52 and .13 to .31. The two overlap, so a low value is
a reason to search again, never one to refuse an answer.
"""

from collections.abc import Sequence
from math import hypot

from langchain_core.embeddings import Embeddings

from project3_rag_docs.search.rankings import Hit

_ANY_TEXT = (
    "The weather in the mountains changes quickly.",
    "Bake the bread for forty minutes.",
    "The team won the match in the last minute.",
    "The king died in the year 1307.",
    "Photosynthesis takes place in the leaves.",
    "Press the button to start the machine.",
    "她昨天去了北京看朋友。",
    "这本小说写的是一个渔夫的故事。",
)


class Relevance:
    """Measures hits by what any text would score.

    Args:
        embeddings: The model of the search.
        query_prefix: What it wants before a question.
        passage_prefix: What it wants before a passage.
    """

    def __init__(self, embeddings: Embeddings, query_prefix: str, passage_prefix: str) -> None:
        self._embeddings = embeddings
        self._query_prefix = query_prefix
        self._passage_prefix = passage_prefix
        self._any_text: list[list[float]] = []

    async def of(self, question: str, hits: Sequence[Hit]) -> float:
        """Return how near the best hit is to the question.

        Raises:
            ModelUnavailable, ModelTimeout: see `shared.errors`.
        """
        known = [hit.similarity for hit in hits if hit.similarity is not None]
        if not known:
            return 0.0
        if not self._any_text:
            self._any_text = await self._embeddings.aembed_documents(
                [self._passage_prefix + text for text in _ANY_TEXT]
            )
        asked = await self._embeddings.aembed_query(self._query_prefix + question)
        usual = sum(_cosine(asked, vector) for vector in self._any_text) / len(self._any_text)
        return (max(known) - usual) / (1 - usual) if usual < 1 else 0.0


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    lengths = hypot(*one) * hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths if lengths else 0.0
