"""Estimate whether the hits of a search are relevant to the question: a search always finds something.

A search's scores are ranks, and a cosine similarity alone means little: for unrelated texts one embedding model returns
.75, another .1. So the similarity of the best passage is compared with that of a few unrelated sentences:

    relevance = (best - unrelated) / (1 - unrelated)        0: like an unrelated text; 1: the same text

Measured with multilingual-e5-small on the example documents, with eight questions that they answer and eight that they
do not: the cosine alone is .80 to .88 and .75 to .83, the relevance .29 to .52 and .13 to .31. The ranges overlap, so a
low value is a reason to search again, never to refuse an answer.
"""

from collections.abc import Sequence
from math import hypot

from langchain_core.embeddings import Embeddings

from project3_rag_docs.search.hits import Hit

_UNRELATED_SENTENCES = (
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
    """Relevance of hits, calibrated with unrelated sentences.

    Args:
        embeddings: The search's embedding model.
        query_prefix: The model's prefix for questions.
        passage_prefix: The model's prefix for passages.
    """

    def __init__(self, embeddings: Embeddings, query_prefix: str, passage_prefix: str) -> None:
        self._embeddings = embeddings
        self._query_prefix = query_prefix
        self._passage_prefix = passage_prefix
        self._unrelated: list[list[float]] = []

    async def measure(self, question: str, hits: Sequence[Hit]) -> float:
        """Return the relevance of the best hit to the question.

        Raises:
            ModelUnavailable, ModelTimeout: see `shared.errors`.
        """
        similarities = [hit.similarity for hit in hits if hit.similarity is not None]
        if not similarities:
            return 0.0
        if not self._unrelated:
            self._unrelated = await self._embeddings.aembed_documents(
                [self._passage_prefix + text for text in _UNRELATED_SENTENCES]
            )
        query = await self._embeddings.aembed_query(self._query_prefix + question)
        baseline = sum(_cosine(query, vector) for vector in self._unrelated) / len(self._unrelated)
        return (max(similarities) - baseline) / (1 - baseline) if baseline < 1 else 0.0


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    lengths = hypot(*one) * hypot(*other)
    return sum(a * b for a, b in zip(one, other, strict=True)) / lengths if lengths else 0.0
