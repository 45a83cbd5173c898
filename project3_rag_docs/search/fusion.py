"""Fuse rankings into one, with scores that can be compared between searches.

Within the query's language, a chunk's BM25 score relative to its maximum is added to its cosine relative to that of
unrelated texts (a convex combination: Bruch, Gai and Ingber, "An Analysis of Fusion Functions for Hybrid Retrieval",
2023). Rank fusion ignores by how much a chunk is better than the next. Measured (nDCG@10, rank fusion → this): XQuAD
.978 → .981 and .973 → .980, DRCD .960 → .975, where BM25 alone is .968.

A chunk in the other language shares no term with the query, and its cosine is lower throughout, so it is compared with
the rest of its own ranking only.

Both become log odds that the chunk is relevant. The coefficients are those of logistic regressions, rounded, on XQuAD
with a third of the passages in English, a third in Chinese, and the questions of a third without a passage. For .95 of
these questions no chunk has odds above 0; .99 and .96 of the others have one in their own language, .81 and .58 in the
other.
"""

from collections.abc import Mapping, Sequence
from math import exp

from project3_rag_docs.search.lexical import Language
from project3_rag_docs.search.rankings import ChunkKey, RankedChunk

_COSINE_WEIGHT = 0.6
_SLOPE = 16.0
_INTERCEPT = {Language.EN: -6.0, Language.ZH: -4.6}  # by the query's language
_FOREIGN_INTERCEPT = {Language.EN: -2.75, Language.ZH: -3.4}
_TOP = 10
_MIN_REST = 20  # chunks after the first ten, of which a ranking's baseline is the average
_OUTDONE = 3.0  # log odds; a chunk that is that much worse does not get its turn
_MIN_RANGE = 1e-3


def fuse(
    words: Mapping[ChunkKey, float], meaning: Mapping[ChunkKey, float], limit: int
) -> list[tuple[ChunkKey, float]]:
    """Return the chunks of two rankings with the weighted sums of their scores, best first.

    Args:
        words: Shares of the maximum of BM25.
        meaning: Cosines, 0 for unrelated texts and 1 for equal ones.
        limit: The length at which the rankings were cut. A chunk that is missing in one has the lowest score in it, or
            no word of the query if the ranking is shorter.
    """
    least_words = min(words.values()) if len(words) >= limit else 0.0
    least_meaning = min(meaning.values(), default=0.0)
    scores = {
        key: words.get(key, least_words) + _COSINE_WEIGHT * meaning.get(key, least_meaning)
        for key in dict.fromkeys([*words, *meaning])
    }
    return sorted(scores.items(), key=lambda item: (-item[1], item[0]))


def relative_cosines(ranking: Sequence[RankedChunk], baseline: float) -> dict[ChunkKey, float]:
    """Return the cosines of a ranking as shares of the way from the baseline to 1."""
    return {chunk.key: (chunk.score - baseline) / max(_MIN_RANGE, 1 - baseline) for chunk in ranking}


def outstanding_cosines(ranking: Sequence[RankedChunk], baseline: float, least: float) -> dict[ChunkKey, float]:
    """Return by how much the cosines of a foreign ranking exceed the average of those after the first ten.

    Args:
        baseline: The cosine of unrelated texts, from which the way to 1 is the unit.
        least: Taken for the average as far as the ranking is too short to have one.
    """
    rest = [chunk.score for chunk in ranking[_TOP:]]
    rest += [least] * (_MIN_REST - len(rest))
    average = sum(rest) / len(rest)
    return {chunk.key: (chunk.score - average) / max(_MIN_RANGE, 1 - baseline) for chunk in ranking}


def log_odds(score: float, query: Language, *, foreign: bool) -> float:
    """Return the log odds that a chunk with this score is relevant."""
    return _SLOPE * score + (_FOREIGN_INTERCEPT if foreign else _INTERCEPT)[query]


def probability(odds: float) -> float:
    """Return the probability of log odds."""
    return 1 / (1 + exp(-max(-50.0, min(50.0, odds))))


def alternate(
    own: Sequence[tuple[ChunkKey, float]], foreign: Sequence[tuple[ChunkKey, float]]
) -> list[tuple[ChunkKey, float]]:
    """Alternate between two rankings by log odds, beginning with the better first; skip a turn of far worse ones.

    The odds of two languages are not equally good: sorted by them, .91 instead of .93 (nDCG@10, a bilingual index).
    """
    mixed: list[tuple[ChunkKey, float]] = []
    waiting = [list(reversed(own)), list(reversed(foreign))]
    turn = 0 if not foreign or (own and own[0][1] >= foreign[0][1]) else 1
    while waiting[0] and waiting[1]:
        if waiting[1 - turn][-1][1] - waiting[turn][-1][1] > _OUTDONE:
            turn = 1 - turn
        mixed.append(waiting[turn].pop())
        turn = 1 - turn
    return [*mixed, *reversed(waiting[0]), *reversed(waiting[1])]
