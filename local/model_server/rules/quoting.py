"""Answering a question with sentences of the passages.

A sentence's score is linear in three values: the cosine similarity of its e5 vector with the question's, the share of
the question's words in the sentence, and their share in the whole passage. Words are weighted by their rarity among the
candidate sentences (BM25's idf). A sentence with a score above 0 answers the question. The coefficients are those of a
logistic regression, rounded; the intercepts depend on the two languages, because e5's similarities do.

Fitted on the first half of XQuAD's paragraphs. A high similarity then also suffices by itself, because XQuAD's
questions share more words with their paragraph than questions of people do. Measured on the other half, from prompt to
answer: 200 questions for each pair of languages, with five numbered paragraphs, with or without the right one. *Random*
are arbitrary paragraphs; *near* are those that e5 finds nearest, mostly of the same article.

| question on passages | found: near, random | "do not say": near, random | first quote is from the right one |
| --- | --- | --- | --- |
| English on English | .99, .98 | .37, .96 | .97, .98 |
| Chinese on Chinese | .99, .99 | .44, .97 | .96, .99 |
| Chinese on English | .92, .87 | .25, .87 | .74, .85 |
| English on Chinese | .74, .71 | .56, .97 | .61, .70 |

Of 38 everyday questions that use other words than five short passages ("Do kids have to pay?" for "Children enter free
of charge."), 33 ranked the right passage first within a language, and 24 were answered; of 30 on other subjects, none
was. These 68 were used to set the two sufficient similarities.

So an unrelated subject is detected, reliably within a language. Passages on the right subject that lack the answer are
not detected, and matches across languages are often missed.
"""

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from local.model_server.rules.passages import Passage
from local.model_server.rules.text import is_chinese, sentences, terms

# Returns unit-length vectors for texts with e5's prefixes. Asynchronous, because llama.cpp computes them behind HTTP in
# up to a second, during which the server handles other requests.
Embed = Callable[[Sequence[str]], Awaitable[Sequence[Sequence[float]]]]

_COSINE, _SENTENCE_WORDS, _PASSAGE_WORDS = 46.0, 4.6, 5.0
_NEEDED = {  # (Chinese question, Chinese sentence): the minimum score of an answer
    (False, False): 41.7,
    (True, True): 42.7,
    (True, False): 36.2,
    (False, True): 35.6,
}
# A similarity that suffices without common words; one in 200 random sentences reaches it.
_ENOUGH = {(False, False): 0.82, (True, True): 0.88}

_MOST_EMBEDDED = 32  # sentences; takes two cores a second
_MOST_SENTENCES = 20_000
_LONGEST_QUESTION = 600  # characters
_MOST_QUOTED = 3
_WITHIN = 1.5  # maximum distance from the best score for further sentences


@dataclass(frozen=True)
class Quote:
    """A sentence, the number of its passage, and its score: above 0 it answers the question."""

    number: int
    text: str
    score: float


@dataclass(frozen=True)
class _Candidate:
    position: int  # of its passage
    order: int  # in its passage
    number: int
    text: str
    words: frozenset[str]


@dataclass(frozen=True)
class _Scored:
    candidate: _Candidate
    score: float


async def best_quotes(question: str, passages: Sequence[Passage], embed: Embed) -> Sequence[Quote]:
    """Return up to three sentences that answer a question, best passage first; none if the passages do not answer it.

    The passages are only compared with the question: instructions in them are sentences like any other.
    """
    ranked, asked = await _ranked(question[-_LONGEST_QUESTION:], passages, embed)
    if not ranked or ranked[0].score <= 0:
        return []
    best = ranked[0]
    taken = {best.candidate.text: best}
    covered = best.candidate.words & asked
    for scored in ranked[1:]:
        candidate = scored.candidate
        # "It is 330 metres tall." is an answer only together with the sentence that names the tower.
        adds = candidate.position == best.candidate.position and (candidate.words & asked) - covered
        near = 0 < scored.score >= best.score - _WITHIN and candidate.words
        if (adds or near) and len(taken) < _MOST_QUOTED:
            taken.setdefault(candidate.text, scored)
            covered = covered | (candidate.words & asked)
    places = [scored.candidate.position for scored in taken.values()]
    in_order = sorted(taken.values(), key=lambda one: (places.index(one.candidate.position), one.candidate.order))
    return [Quote(scored.candidate.number, scored.candidate.text, scored.score) for scored in in_order]


async def _ranked(question: str, passages: Sequence[Passage], embed: Embed) -> tuple[Sequence[_Scored], frozenset[str]]:
    """Return the sentences by descending score, and the words of the question."""
    candidates = list(_candidates(passages))[:_MOST_SENTENCES]
    if not candidates or not question.strip():
        return [], frozenset()
    rarity = _rarity(question, candidates)
    in_passage: dict[int, set[str]] = {}
    for candidate in candidates:
        in_passage.setdefault(candidate.position, set()).update(candidate.words & rarity.keys())
    of_passage = {position: _share(words, rarity) for position, words in in_passage.items()}
    lexical = {
        candidate: _SENTENCE_WORDS * _share(candidate.words, rarity) + _PASSAGE_WORDS * of_passage[candidate.position]
        for candidate in candidates
    }
    chosen = _worth_embedding(candidates, lexical)
    vectors = await embed([f"query: {question}", *(f"passage: {candidate.text}" for candidate in chosen)])
    chinese = is_chinese(question)
    # A Chinese sentence with many Latin names may look English by itself.
    passage_chinese = [is_chinese(passage.text) for passage in passages]
    ranked = []
    for candidate, vector in zip(chosen, vectors[1:], strict=True):
        cosine = sum(a * b for a, b in zip(vector, vectors[0], strict=True))
        pair = (chinese, passage_chinese[candidate.position])
        score = _COSINE * cosine + lexical[candidate] - _NEEDED[pair]
        if pair in _ENOUGH:
            score = max(score, _COSINE * (cosine - _ENOUGH[pair]))
        ranked.append(_Scored(candidate, score))
    return sorted(ranked, key=lambda scored: -scored.score), frozenset(rarity)


def _candidates(passages: Sequence[Passage]) -> Iterator[_Candidate]:
    for position, passage in enumerate(passages):
        for order, sentence in enumerate(sentences(passage.text)):
            yield _Candidate(position, order, passage.number, sentence, frozenset(terms(sentence)))


def _rarity(question: str, candidates: Sequence[_Candidate]) -> dict[str, float]:
    """Return the weight of each of the question's words: BM25's inverse document frequency over the sentences."""
    words = frozenset(terms(question))
    found = Counter(word for candidate in candidates for word in candidate.words & words)
    count = len(candidates)
    return {word: math.log(1 + (count - found[word] + 0.5) / (found[word] + 0.5)) for word in words}


def _share(words: frozenset[str] | set[str], rarity: dict[str, float]) -> float:
    total = sum(rarity.values())
    return sum(rarity[word] for word in words if word in rarity) / total if total else 0.0


def _worth_embedding(candidates: Sequence[_Candidate], lexical: dict[_Candidate, float]) -> Sequence[_Candidate]:
    """Choose the sentences to embed: half by common words, half from the front, where retrieval puts the best."""
    if len(candidates) <= _MOST_EMBEDDED:
        return candidates
    by_words = sorted(candidates, key=lambda candidate: -lexical[candidate])[: _MOST_EMBEDDED // 2]
    by_place = sorted(candidates, key=lambda candidate: 2 * candidate.position + candidate.order)
    return list(dict.fromkeys([*by_words, *by_place]))[:_MOST_EMBEDDED]


def quoted_answer(quotes: Sequence[Quote]) -> str:
    """Return the sentences verbatim, each followed by the number of its passage: `Paris is the capital. [2]`."""
    return " ".join(f"{quote.text} [{quote.number}]" for quote in quotes)


def no_answer(question: str) -> str:
    """Return the sentence that the passages do not answer the question, in its language."""
    return "这些段落中没有提到这个问题的答案。" if is_chinese(question) else "The passages do not say."
