"""Lexical analysis for BM25: stems for English, character bigrams for scripts without spaces."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from operator import add

from snowballstemmer.english_stemmer import EnglishStemmer  # type: ignore[import-untyped]  # the package has no types

_MAX_TERM_LENGTH = 64  # characters; longer words are keys or Base64, which no query contains in full
_NORMALIZATION_BLOCK = 2000  # characters; sorting the combining marks on one letter takes quadratic time

# Han, Kana, Hangul, Thai, Lao, Tibetan, Burmese and Khmer, without their punctuation. Korean has spaces, but between
# phrases.
_UNSPACED = (
    "\u0e01-\u0e3e\u0e40-\u0e4e\u0e50-\u0e59\u0e81-\u0edf\u0f40-\u0fbc\u1000-\u1049\u1050-\u109f\u1100-\u11ff\u1780-\u17d3"
    "\u17e0-\u17e9\u2e80-\u2fdf\u3005-\u3007\u3041-\u309f\u30a1-\u30fa\u30fc-\u30ff\u3105-\u318f\u31a0-\u31bf\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7fb\uf900-\ufaff\U00020000-\U0003ffff"
)
_ACCENTS = "\u0300-\u036f\u0591-\u05bd\u05bf-\u05c7\u0610-\u061a\u064b-\u065f\u0670"  # Hebrew and Arabic vowels too
_LETTER = f"[^\\W_{_UNSPACED}]"
# `\w` does not match the vowel signs of Indic scripts, nor accents without a precomposed letter.
_WORD_PART = f"(?:{_LETTER}|[{_ACCENTS}\u0900-\u0963\u0966-\u0dff])"
_HYPHEN = "[-\u2010]\n?"  # with a line break: a word hyphenated at the end of a line

_ACCENT = re.compile(f"[{_ACCENTS}]+")
_UNSPACED_CHARACTER = re.compile(f"[{_UNSPACED}]")
_LINE_BREAK_INSIDE = re.compile(f"(?<=[{_UNSPACED}])[ \t\r]?\n[ \t]?(?=[{_UNSPACED}])")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060\ufeff]")
_TOKEN = re.compile(
    f"[{_UNSPACED}]+"
    f"|(?<!{_LETTER})(?:[a-z](?:\\+\\+|#)|[a-z](?:\\.[a-z]){{1,8}}(?!{_LETTER}))"  # c++, c#, u.s.
    f"|{_WORD_PART}+(?:(?:['’]|{_HYPHEN}|(?<=\\d)[.,](?=\\d)){_WORD_PART}+)*"
)
_JOINT = re.compile(f"['’]|{_HYPHEN}|,")
_CONTRACTION = re.compile("['’](?:s|ll|re|ve|d|m)(?![^\\W_])")
_NEGATION = re.compile("n['’]t$")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?")

# The closed classes: articles, pronouns, auxiliaries, conjunctions, question words, and prepositions with little
# meaning. Words of place, time and quantity are kept, because "before", "under" and "most" narrow a question down. So
# are `us`, `may` and `will`: a country, a month and a document.
_CLOSED_CLASSES = """
    a an the this that these those
    i me my mine we our ours you your yours he him his she her hers it its they them their theirs
    myself yourself himself herself itself ourselves themselves
    and or but nor so if then than as because while although though whether
    of in on at by for with from to into onto
    am is are was were be been being have has had having do does did doing can could would should shall might must
    cannot not no
    what which who whom whose when where why how there here e.g i.e
"""
_STOP_WORDS = frozenset(_CLOSED_CLASSES.split())
# Function words that mark a sentence as Chinese even if it consists mostly of names.
_CHINESE_PARTICLE = re.compile("[的了是吗呢在有么怎和与为]")


class Language(StrEnum):
    """The way a text is split into terms."""

    EN = "en"
    """All scripts with spaces between words, stemmed as English."""
    ZH = "zh"
    """Scripts without spaces between words, as character bigrams: Han, Kana, Hangul, Thai and others."""


@dataclass(frozen=True)
class Analysis:
    """The language of a text, and the frequency of each term in it."""

    language: Language
    terms: Mapping[str, int]


def analyse(text: str) -> Analysis:
    """Return the language and the terms of a text, in time proportional to its length; documents and queries alike.

    Words are folded (case, width, accents) and stemmed, in texts of either language, and English stop words are
    dropped unless the text has no other words. A run of a script without spaces becomes its bigrams, which retrieve
    about as well as the words of a segmenter (Nie and others, "On the use of words and n-grams for Chinese information
    retrieval", 2000) and need no dictionary.
    """
    tokens = _tokens(text)
    return Analysis(_language(tokens), _terms(tokens))


def language_of(text: str) -> Language:
    """Return the predominant language of a text; `Language.EN` if it has no letters.

    A character of a script without spaces counts as two words, because a short question may consist mostly of foreign
    names. Names are borrowed between languages and function words are not, so each function word counts three more:
    "Who is 习近平" is English, "Let It Be 的歌词是什么" is Chinese.
    """
    return _language(_tokens(text))


def _tokens(text: str) -> list[str]:
    """Return the folded words of a text, and its runs of scripts without spaces."""
    if text.isascii():
        return _TOKEN.findall(text.casefold())
    text = _INVISIBLE.sub("", text)
    slices = (text[at : at + _NORMALIZATION_BLOCK] for at in range(0, len(text), _NORMALIZATION_BLOCK))
    text = "".join(unicodedata.normalize("NFKC", part) for part in slices)
    # A single line break in Chinese text may divide a word, as there are no hyphens; two end a paragraph.
    return _TOKEN.findall(_LINE_BREAK_INSIDE.sub("", text.casefold()))


def _language(tokens: list[str]) -> Language:
    unspaced = "".join(token for token in tokens if _UNSPACED_CHARACTER.match(token))
    if not unspaced:
        return Language.EN
    words = [token for token in tokens if not _UNSPACED_CHARACTER.match(token) and not token.isdecimal()]
    english = len(words) + 3 * sum(word in _STOP_WORDS for word in words)
    chinese = 2 * len(unspaced) + 3 * len(_CHINESE_PARTICLE.findall(unspaced))
    return Language.ZH if chinese >= english else Language.EN


def _terms(tokens: list[str]) -> Mapping[str, int]:
    found: list[str] = []
    dropped: list[str] = []
    for token in tokens:
        if token in _STOP_WORDS:
            dropped.append(token)
        elif _UNSPACED_CHARACTER.match(token):
            found += map(add, token, token[1:]) if len(token) > 1 else token
        elif len(token) > _MAX_TERM_LENGTH:
            found += _word_terms(token)
        elif forms := _cached_word_terms(token):
            found += forms
        else:
            dropped.append(token)
    return Counter(found or dropped)


@lru_cache(maxsize=1 << 15)
def _cached_word_terms(token: str) -> tuple[str, ...]:
    # Stemming a word takes about 20 microseconds, and texts repeat their words.
    return tuple(_word_terms(token))


def _word_terms(token: str) -> Iterator[str]:
    """Yield the terms of one word, which may contain apostrophes, hyphens and full stops.

    A word with one hyphen yields its parts and the whole, so that "e-mail" matches "email", "GPT-4" matches "GPT4", and
    a word hyphenated at the end of a line matches itself. A word with more hyphens yields only its parts.
    """
    if token.isalnum():
        yield _stem(token)
        return
    if _NEGATION.search(token):
        return
    if token.endswith(("+", "#")):
        yield token
        return
    if token[0].isalpha() and token[1:2] == ".":
        yield token.replace(".", "")
        return
    token = _CONTRACTION.sub("", token)
    if _THOUSANDS.fullmatch(token):
        yield token.replace(",", "")
        return
    parts = [part for part in _JOINT.split(token) if part]
    for part in parts:
        if part not in _STOP_WORDS:
            yield _stem(part)
    if len(parts) == 2 and not parts[0].isdecimal() and "," not in token:
        yield _stem("".join(parts))


def _stem(word: str) -> str:
    word = word[:_MAX_TERM_LENGTH]
    if not word.isascii():
        bare = _ACCENT.sub("", unicodedata.normalize("NFD", word))
        word = unicodedata.normalize("NFC", bare) or word
    # A stemmer stores the current word, so threads cannot share one; creating one costs next to nothing.
    stem: str = EnglishStemmer().stemWord(word)
    return stem
