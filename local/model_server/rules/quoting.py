"""Answering a question with sentences of the passages.

A sentence's score is a straight line over three figures: the cosine of its e5 vector with the question's, the share of
the question's words in it, and the share of them in its whole passage; words count by their rarity among the sentences
at hand (BM25's idf). Above 0 the sentence is taken to answer. The slopes are a logistic regression's, rounded, and the
intercepts depend on the two languages, because e5's cosines do.

Fitted on the first half of XQuAD's paragraphs; then a cosine was allowed to be enough by itself, because XQuAD's
questions share more words with their paragraph than people's questions do. Measured on the other half, from the prompt
to the answer: 200 questions for each pair of languages, with five numbered paragraphs, the right one and four others,
or five others. *Random* are paragraphs about anything; *near* are the ones that e5 finds nearest, mostly of the same
article.

| question on passages | found: near, random | "do not say": near, random | first quote is from the right one |
| --- | --- | --- | --- |
| English on English | .99, .98 | .37, .96 | .97, .98 |
| Chinese on Chinese | .99, .99 | .44, .97 | .96, .99 |
| Chinese on English | .92, .87 | .25, .87 | .74, .85 |
| English on Chinese | .74, .71 | .56, .97 | .61, .70 |

Of 38 everyday questions in other words than five short passages use ("Do kids have to pay?" for "Children enter free of
charge."), 33 ranked the right passage first within a language, 24 were taken as answered; of 30 on other things, none
was. These 68 helped to set the two cosines.

So it tells a foreign subject, within a language reliably. It does not tell that passages on the right subject leave out
just what was asked, and across languages it often misses.
"""

import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from local.model_server.rules.passages import Passage
from local.model_server.rules.text import is_chinese, sentences, terms

# Vectors of unit length for texts with e5's prefixes. Asynchronous, because the vectors come over HTTP from llama.cpp,
# which takes up to a second for them, and the server has others to answer meanwhile.
Embed = Callable[[Sequence[str]], Awaitable[Sequence[Sequence[float]]]]

_COSINE, _SENTENCE_WORDS, _PASSAGE_WORDS = 46.0, 4.6, 5.0
_NEEDED = {  # (Chinese question, Chinese sentence): the score from which on a sentence answers
    (False, False): 41.7,
    (True, True): 42.7,
    (True, False): 36.2,
    (False, True): 35.6,
}
# A cosine that is enough without a common word (a question in other words); random sentences reach it once in 200.
_ENOUGH = {(False, False): 0.82, (True, True): 0.88}

_MOST_EMBEDDED = 32  # sentences; a second's work for two cores
_MOST_SENTENCES = 20_000
_LONGEST_QUESTION = 600  # characters
_MOST_QUOTED = 3
_WITHIN = 1.5  # how much less than the best a further sentence may score


@dataclass(frozen=True)
class Quote:
    """A sentence, the number of its passage, and how well it answers: above 0 it does."""

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
    """Return the sentences that answer a question, the best first, at most three; none where the passages do not say.

    What stands in the passages is only compared with the question: an order in them is a sentence like any other.
    """
    ranked, asked = await _ranked(question[-_LONGEST_QUESTION:], passages, embed)
    if not ranked or ranked[0].score <= 0:
        return []
    best = ranked[0]
    taken = {best.candidate.text: best}
    said = best.candidate.words & asked
    for scored in ranked[1:]:
        candidate = scored.candidate
        # "It is 330 metres tall." says what was asked only beside the sentence that names the tower.
        adds = candidate.position == best.candidate.position and (candidate.words & asked) - said
        near = 0 < scored.score >= best.score - _WITHIN and candidate.words
        if (adds or near) and len(taken) < _MOST_QUOTED:
            taken.setdefault(candidate.text, scored)
            said = said | (candidate.words & asked)
    places = [scored.candidate.position for scored in taken.values()]
    in_order = sorted(taken.values(), key=lambda one: (places.index(one.candidate.position), one.candidate.order))
    return [Quote(one.candidate.number, one.candidate.text, one.score) for one in in_order]


async def _ranked(question: str, passages: Sequence[Passage], embed: Embed) -> tuple[Sequence[_Scored], frozenset[str]]:
    """Order sentences by how well they answer, the best first; and return what the question is about."""
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
    # A sentence with many names in it may look English on its own.
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
    """Choose what to compare by meaning: half by common words, half from the front, where retrieval puts the best."""
    if len(candidates) <= _MOST_EMBEDDED:
        return candidates
    by_words = sorted(candidates, key=lambda candidate: -lexical[candidate])[: _MOST_EMBEDDED // 2]
    by_place = sorted(candidates, key=lambda candidate: 2 * candidate.position + candidate.order)
    return list(dict.fromkeys([*by_words, *by_place]))[:_MOST_EMBEDDED]
