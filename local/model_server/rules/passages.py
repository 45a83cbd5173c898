"""Finding numbered passages in a prompt, and the question about them."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from local.model_server.rules.markers import Marker, Style, find_markers
from local.model_server.rules.messages import last_user_text, system_text
from local.model_server.rules.question import cut_question, has_label, is_question, question_part

_CONTEXT_WORD = re.compile(
    r"\b(?:contexts?|sources?|documents?|passages?|excerpts?|snippets?|references?|articles?|paragraphs?|search results"
    r"|knowledge|facts|information|evidence|chunks?|materials?|texts?|notes|retrieved|following|below|using|based on)\b"
    r"|上下文|资料|文档|段落|来源|参考|材料|检索|知识|片段|内容|信息|文献|以下|根据|基于",
    re.IGNORECASE,
)
_INSTRUCTION = re.compile(
    r"[\s*_>-]{0,8}(?:always|never|do|don't|use|only|answer|be|if|when|respond|reply|keep|provide|avoid|you"
    r"|your|please|ensure"
    r"|make|write|return|cite|remember|think|follow|instructions?|rules?|note that|based on|given|using"
    r"|with the|explain"
    r"|请|不要|必须|始终|如果|只|回答|禁止|使用|保持|务必|注意|要求|根据|你|基于)(?![a-z])",
    re.IGNORECASE,
)
_FENCE = re.compile(
    r"^[ \t]{0,8}(```|~~~|\"\"\"|'''|-{3,80}|={3,80}|\*{3,80}|\+{3,80}|#{3,80})[\w ]{0,20}$", re.MULTILINE
)
_OPENING_TAG = re.compile(r"<([A-Za-z_][\w.-]{0,40})(?:[ \t][^<>\n]{0,200})?>")
_ANY_TAG = re.compile(r"</?[A-Za-z_][^<>\n]{0,200}>")
_TAG_NAME = re.compile(r"<([\w-]{1,60})")
_METADATA_TAG = re.compile(
    r"<(source|title|url|link|file_?name|page|metadata|score|id|index)>[^<]{0,300}</\1>", re.IGNORECASE
)
_ANSWER_HERE = re.compile(
    r"(?:^|\s)[#*_> ]{0,6}(?:(?:helpful|final|your|the)[ ])?(?:answer|response|assistant|回答|答案"
    r"|答)[*_ ]{0,3}[:：][*_]{0,2}\s{0,8}$",
    re.IGNORECASE,
)
_RULER = re.compile(r"^[ \t]{0,8}(?:```\w{0,12}|~~~|\"\"\"|'''|[-=*+#_]{3,80})[ \t]{0,8}$", re.MULTILINE)
_METADATA = re.compile(
    r"^[ \t]{0,8}[-*]{0,2}[ \t]?(?:source|file(?:name|[ _]?path)?|url|link|pages?|score|id|chunk|index"
    r"|relevance|similarity"
    r"|来源|文件名?|链接|网址|页码?|相似度|得分)[ \t]?[:：][^\n]{0,300}$",
    re.IGNORECASE | re.MULTILINE,
)
_TEXT_LABEL = re.compile(
    r"^[ \t]{0,8}(?:page_content|content|text|passage|body|excerpt|内容|正文|文本)[ \t]?[:：=][ \t]{0,4}",
    re.IGNORECASE | re.MULTILINE,
)
_ORIGIN = re.compile(r"\s{0,4}[(\[（][^()\[\]（）\n]{0,160}[)\]）][ \t]{0,4}[:：-]?(?=\s)")
_BLANK_LINE = re.compile(r"\n[ \t]{0,80}\n\s{0,80}")


@dataclass(frozen=True)
class Passage:
    """A passage of a prompt, with its number."""

    number: int
    text: str


@dataclass(frozen=True)
class Prompt:
    """A question, and at least one passage to answer it from."""

    question: str
    passages: Sequence[Passage]


def find_passages(messages: Sequence[Mapping[str, Any]]) -> Prompt | None:
    """Find numbered passages in the last user message or, failing that, in the system messages.

    Args:
        messages: All messages of the request.

    Returns:
        None if there are none. A numbered list counts as passages only with further signs: a heading, enclosing tags, a
        labelled question, complete sentences.
    """
    user, system = last_user_text(messages), system_text(messages)
    return _in_user(user) or _in_system(system, user)


def passages_in(text: str) -> Sequence[Passage]:
    """Find numbered passages in a text without a question, such as the result of a search tool."""
    found = find_markers(text)
    if found is None:
        return ()
    style, markers = found
    if style >= Style.PARENTHESIS and len(text) / len(markers) < 60:
        return ()
    return _passages(text, style, markers, len(text))


def _in_user(text: str) -> Prompt | None:
    text = text.rstrip()
    if label := _ANSWER_HERE.search(text, max(0, len(text) - 60)):
        text = text[: label.start()]
    found = find_markers(text)
    if found is None:
        return None
    style, markers = found
    head = text[: markers[0].start]
    close, after = _enclosed(text, markers)
    question_at, question = cut_question(text, markers[-1].end if close is None else after)
    end = len(text)
    if close is not None:
        end = close
    elif question_at is not None:
        end = question_at
    if not question:
        _, question = cut_question(head, 0)
    if not question:
        outside = text[after:].strip() if close is not None else ""
        end, tail = (end, outside) if close is not None else _split_tail(text, markers)
        candidates = [question_part(head), question_part(tail)]
        question = next((part for part in candidates if is_question(part)), "") or tail or candidates[0]
        if close is None and question != tail:
            end = _last_end(text, markers, len(text))
    passages = _passages(text, style, markers, end)
    if not question.strip() or not _credible(style, passages, head, close is not None, has_label(text)):
        return None
    return Prompt(question.strip(), passages)


def _in_system(system: str, user: str) -> Prompt | None:
    found = find_markers(system)
    if found is None:
        return None
    style, markers = found
    close, _ = _enclosed(system, markers)
    labelled_at, labelled = cut_question(system, markers[-1].end)
    end = (
        close
        if close is not None
        else labelled_at
        if labelled_at is not None
        else _last_end(system, markers, len(system))
    )
    passages = _passages(system, style, markers, end)
    question = cut_question(user, 0)[1] or user or labelled
    head = system[: markers[0].start]
    if not question.strip() or not _credible(style, passages, head, close is not None, labelled=False):
        return None
    return Prompt(question.strip(), passages)


def _credible(style: Style, passages: Sequence[Passage], head: str, enclosed: bool, labelled: bool) -> bool:
    """Return whether these are passages to answer from, and not just a list."""
    if not passages:
        return False
    sizes = [_size(passage.text) for passage in passages[:50]]
    average = sum(sizes) / len(sizes)
    if style < Style.PARENTHESIS:
        return average >= 12
    orders = sum(1 for passage in passages[:50] if _INSTRUCTION.match(passage.text))
    if average < 20 or orders * 2 > len(sizes):
        return False
    heading = " ".join(head.strip().splitlines()[-2:])[-300:]
    whole = sum(1 for passage in passages[:50] if passage.text.rstrip()[-1:] in set('.!?。！？…"”'))
    signs = (
        2 * bool(_CONTEXT_WORD.search(heading)) + 2 * enclosed + labelled + (whole * 2 > len(sizes)) + (average >= 120)
    )
    return signs >= 2 + (len(passages) == 1)


def _size(text: str) -> int:
    # A Chinese character carries about as much as two and a half letters.
    sample = text[:400]
    return len(sample) + sum(1 for character in sample if character > "\u2e80") * 3 // 2


def _enclosed(text: str, markers: Sequence[Marker]) -> tuple[int | None, int]:
    """Return start and end of the closing tag or fence that encloses the passages; (None, 0) if there is none."""
    head, last = text[: markers[0].start], markers[-1].end
    # Tags that are open before the first passage, outermost first.
    for match in _OPENING_TAG.finditer(head, max(0, len(head) - 4000)):
        close = text.rfind(f"</{match.group(1)}>")
        if close >= last:
            return close, close + len(match.group(1)) + 3
    lines = head.rstrip().rsplit("\n", 2)
    for line in reversed(lines[-2:]):
        if fence := _FENCE.match(line):
            closing = [match for match in _FENCE.finditer(text, last) if match.group(1)[:3] == fence.group(1)[:3]]
            if closing:
                return closing[-1].start(), closing[-1].end()
    return None, 0


def _passages(text: str, style: Style, markers: Sequence[Marker], end: int) -> list[Passage]:
    found = []
    for position, marker in enumerate(markers):
        following = markers[position + 1].start if position + 1 < len(markers) else max(end, marker.end)
        if style == Style.TAG:
            tag = _TAG_NAME.match(text, marker.start, marker.end)
            limit = markers[position + 1].start if position + 1 < len(markers) else len(text)
            close = text.find(f"</{tag.group(1)}>", marker.end, limit) if tag else -1
            content = text[marker.end : close if close >= 0 else following]
            content = _ANY_TAG.sub("\n", _METADATA_TAG.sub("", content))
        else:
            content = text[marker.end : following]
        if cleaned := _clean(content):
            found.append(Passage(marker.number, cleaned))
    return found


def _clean(content: str) -> str:
    """Remove the metadata about a passage's origin."""
    content = _RULER.sub("", content)
    without = _TEXT_LABEL.sub("", _METADATA.sub("", content)).strip()
    if origin := _ORIGIN.match(without):
        without = without[origin.end() :].strip() or without
    return without or content.strip()


def _split_tail(text: str, markers: Sequence[Marker]) -> tuple[int, str]:
    """Treat the last paragraph after the last passage as the question, if there is more than one."""
    start = markers[-1].end
    breaks = list(_BLANK_LINE.finditer(text, start, len(text.rstrip())))
    breaks = [match for match in breaks if text[start : match.start()].strip()]
    if breaks:
        return breaks[-1].start(), text[breaks[-1].end() :].strip()
    # The question is on the line after the last passage.
    line = text.rstrip().rfind("\n")
    if line > start and text[start:line].strip() and is_question(text[line:]):
        return line, text[line:].strip()
    return len(text), ""


def _last_end(text: str, markers: Sequence[Marker], end: int) -> int:
    """Return the end of the last passage without a closing tag: before the instructions that follow."""
    start = markers[-1].end
    several = any(_BLANK_LINE.search(text[a.end : b.start].strip()) for a, b in pairwise(markers))
    for match in _BLANK_LINE.finditer(text, start, end):
        instruction = _INSTRUCTION.match(text[match.end() : match.end() + 80])
        # A single passage may have several paragraphs.
        one_each = len(markers) > 1 and not several
        if text[start : match.start()].strip() and (instruction or one_each):
            return match.start()
    return end
