"""Splitting English and Chinese text into words and sentences, without a dictionary."""

import re
import unicodedata
from collections.abc import Iterator

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_HAN_CHARACTERS = re.compile(f"[{_HAN}]")
_RUN = re.compile(f"[{_HAN}]+|[^\\W_{_HAN}]+(?:['’][^\\W\\d_]+)?")
_SENTENCE_END = re.compile(r"[.!?]{1,9}[\"'”’)\]]{0,3}(?=\s)|[。！？!?；]{1,9}[”’」』）)]{0,3}")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"“])(?:[A-Za-z]|[A-Za-z](?:\.[A-Za-z])+|mr|mrs|ms|dr|prof|st|jr|sr|vs|no|nos|fig|figs|eq|inc"
    r"|ltd|co|corp"
    r"|etc|al|cf|approx|dept|gen|col|lt|rev|vol|pp|ed|eds|jan|feb|mar|apr|jun|jul|aug|sep|sept|oct|nov|dec)$",
    re.IGNORECASE,
)
# A table row as text: `Name: Filter; Price: 39.50`, or cells between bars.
_ROW = re.compile(r"^[^:;\n]{1,60}: [^;\n]{0,200}; [^:;\n]{1,60}: | \| ")
_LINE_OF_ITS_OWN = re.compile(r"\s{0,8}(?:[-*•·▪#|>]|\d{1,3}[.)、]|[（(]\d{1,3}[)）])")
# A mark or a digit that no title needs, or the beginning of an item.
_STATEMENT = re.compile(r"[\d.!?:;,|。！？：；，、]|^[-*•·▪>]")
_LONGEST_SENTENCE = 400  # characters; longer ones are tables, or text without punctuation

_COMMON_WORDS = (
    "a about above according after again all also am an and any are as at be been being below between both but by "
    "can could d did do does doing done during each else ever few for from further get give had has have having "
    "he her here hers him his how i if in into is it its itself just know let like ll m make many may me might "
    "more most much must my no nor not now of off on once one only or other our out over own please re s same say "
    "she should show so some such t tell than that the their them then there these they thing this those through "
    "to too under until up use used using ve very want was way we were what when where whether which while who "
    "whom whose why will with would yes you your yours"
)
_STOP_WORDS = frozenset(_COMMON_WORDS.split())
# Chinese question words and particles, which occur in every text.
_CHINESE_STOP = re.compile(
    "什么|多少|怎么样|怎么|怎样|如何|为什么|为何|哪里|哪儿|哪些|哪个|哪位|哪一|几个|是谁|是否|有没有|请问|告诉我|"
    "以及|或者|并且|因为|所以|如果|但是|可以|能够|进行|通过|根据|关于|对于|一个|一些|这个|那个|这些|那些"
    "|他们|她们|它们|我们|你们|"
    "[的了吗呢吧啊呀是在有和与或及被把将从到对为以于之其也都就还又很更最哪谁何请个位这那您你我他她它们着过]"
)


def is_chinese(text: str) -> bool:
    """Return whether a text has at least as many Chinese characters as other words."""
    sample = text[:4000]
    characters = len(_HAN_CHARACTERS.findall(sample))
    words = [run for run in _RUN.findall(sample) if not _HAN_CHARACTERS.match(run) and not run.isdigit()]
    return characters > 0 and characters >= len(words)


def terms(text: str) -> list[str]:
    """Return the search terms of a text.

    Words are lower-cased and stemmed, without stop words; Chinese text becomes character bigrams, whose retrieval
    quality equals that of a segmenter.
    """
    return list(_terms(unicodedata.normalize("NFKC", text)))


def _terms(text: str) -> Iterator[str]:
    for run in _RUN.findall(text):
        if _HAN_CHARACTERS.match(run):
            for part in _CHINESE_STOP.split(run):
                if len(part) == 1:
                    yield part
                for start in range(len(part) - 1):
                    yield part[start : start + 2]
        else:
            word = run.lower().replace("’", "'").split("'")[0]
            if word not in _STOP_WORDS:
                yield _stem(word)


def _stem(word: str) -> str:
    # Deliberately rough: both sides are stemmed alike, and over-stemming costs less than a missed plural.
    if len(word) < 4 or not word.isascii() or word.isdigit():
        return word
    for ending, kept in (
        ("ies", "y"),
        ("ing", ""),
        ("edly", ""),
        ("ied", "y"),
        ("ed", ""),
        ("es", ""),
        ("ly", ""),
        ("s", ""),
    ):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word[: -len(ending)] + kept
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]
    return word[:-1] if len(word) > 3 and word[-1] in "ey" else word


def sentences(text: str) -> list[str]:
    """Split a text into its sentences, with white space normalized and without the titles above them."""
    found: list[str] = []
    blocks = list(_blocks(text))
    for block, following in zip(blocks, [*blocks[1:], ""], strict=False):
        if not _is_title(block, following):
            for sentence in _split(block):
                found += _cut(sentence)
    return found


def _is_title(block: str, following: str) -> bool:
    """Return whether a block is a few words above a sentence. With a digit or a mark, they may be an answer."""
    above_a_sentence = following.rstrip("\"'”’)]」』）").endswith((".", "!", "?", "。", "！", "？"))
    return above_a_sentence and len(block) < _longest_title(block) and _STATEMENT.search(block) is None


def _blocks(text: str) -> Iterator[str]:
    """Join wrapped lines; keep headings, list items and table rows separate."""
    block: list[str] = []
    for line in map(str.strip, text.splitlines()):
        if block and (not line or _LINE_OF_ITS_OWN.match(line) or _is_heading(block[-1], line)):
            yield "".join(block)
            block = []
        if block and not _HAN_CHARACTERS.match(block[-1][-1] + line[0]):
            block.append(" ")  # Chinese text has no spaces at line breaks
        if line:
            block.append(line)
    if block:
        yield "".join(block)


def _is_heading(line: str, following: str) -> bool:
    # Wrapped text fills its lines, and usually continues in lower case.
    if line.startswith(("#", "|")) or _ROW.search(line) or _ROW.search(following):
        return True
    return len(line) < _longest_title(line) and line[-1] not in ",;，、；-" and not following[0].islower()


def _longest_title(line: str) -> int:
    return 20 if _HAN_CHARACTERS.search(line) else 45


def _split(block: str) -> Iterator[str]:
    start = 0
    for match in _SENTENCE_END.finditer(block):
        end = match.end()
        if match.group().startswith("."):
            following = block[end : end + 3].lstrip()
            if following[:1].islower() or _ABBREVIATION.search(block[max(start, match.start() - 12) : match.start()]):
                continue
        if sentence := " ".join(block[start:end].split()):
            yield sentence
        start = end
    if rest := " ".join(block[start:].split()):
        yield rest


def _cut(sentence: str) -> Iterator[str]:
    while len(sentence) > _LONGEST_SENTENCE:
        window = sentence[:_LONGEST_SENTENCE]
        at = max(window.rfind(mark) for mark in (" ", "，", "、", ",", ";", "|")) + 1
        at = at if at > _LONGEST_SENTENCE // 2 else _LONGEST_SENTENCE
        yield sentence[:at].strip()
        sentence = sentence[at:].strip()
    if sentence:
        yield sentence
