"""Finding the markers of numbered passages in a prompt, in the styles that people use."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

# All quantifiers are bounded, so that no text makes a search slow.
_HEADING = (
    r"(?P<heading>(?:[A-Za-z]{1,20}[ ]){0,3}(?:contexts?|sources|documents|passages|information|excerpts"
    r"|snippets|references|results"
    r"|articles|facts|evidence|texts?)[ ]?:[ \t]{1,4}|(?:参考|检索|已知|相关|以下)?(?:资料|文档|上下文|内容"
    r"|来源|信息|段落|文献|材料|片段)[:：][ \t]{0,4})?"
)
# The first passage may follow its heading on the same line: "Context: [1] …".
_LEAD = rf"^{_HEADING}" + r"[ \t]{0,16}(?:[>*#=•–—-]{1,8}[ \t]{0,4})?[*_]{0,2}"
_NOUN = (
    r"(?:source|document|doc|passage|context|chunk|excerpt|snippet|reference|ref|article|result|paragraph|evidence"
    r"|section|extract|fragment|text|note|search result|web page|page"
    r"|来源|文档|文件|段落|片段|资料|材料|参考资料|参考文献|参考|文献|引用|内容|上下文|证据|出处|知识|文章"
    r"|搜索结果|检索结果)"
)
_BRACKETED = r"(?:\[\^?(?:doc|source|ref)?[ \t]?(\d{1,4})\](?![(\]])|【(\d{1,4})】):?"
# Several passages on one line, each after the end of a sentence or a heading.
_INLINE = re.compile(
    r"(?:^|(?<=[.!?;:])[ \t]{1,4}|(?<=[。！？；：])[ \t]{0,4})" + _BRACKETED, re.IGNORECASE | re.MULTILINE
)


class Style(IntEnum):
    """A numbering style. The first three are rarely used for anything but passages, the others for any list."""

    TAG = 1
    LABEL = 2
    BRACKET = 3
    PARENTHESIS = 4
    PLAIN = 5


_PATTERNS = {
    Style.TAG: re.compile(
        rf"<(?:{_NOUN}|item|result|p)[_-]?(?:(\d{{1,4}})"
        r"|[ \t][^<>\n]{0,200}?\b(?:id|index|number|num|no|n|idx"
        r"|rank)[ \t]{0,2}=[ \t]{0,2}[\"']?[a-z_#-]{0,12}(\d{1,4})"
        r"[\"']?[^<>\n]{0,200})>",
        re.IGNORECASE,
    ),
    Style.LABEL: re.compile(
        _LEAD
        + rf"(?:\[|【|第[ \t]?)?{_NOUN}[ \t]{{0,2}}(?:no\.?|number|id|index|#)?[ \t]{{0,2}}[\[(【（#]?[ \t]{{0,2}}"
        r"(\d{1,4})[ \t]?[\])】）]?[*_]{0,2}[ \t]{0,2}(?:[:：.|=）)\]】–—-]{1,8}|(?=[(（])|[ \t]?$)[*_]{0,2}"
        r"|^[ \t]{0,16}第[ \t]?(\d{1,4})[ \t]?[段条篇个节份](?:资料|材料|文档|段落|内容)?[ \t]?[:：]",
        re.IGNORECASE | re.MULTILINE,
    ),
    Style.BRACKET: re.compile(_LEAD + _BRACKETED, re.IGNORECASE | re.MULTILINE),
    Style.PARENTHESIS: re.compile(
        _LEAD + r"(?:\((\d{1,4})\)|（(\d{1,4})）)(?=[ \t]{0,4}\S)", re.IGNORECASE | re.MULTILINE
    ),
    Style.PLAIN: re.compile(
        rf"^{_HEADING}" + r"[ \t]{0,8}[*_]{0,2}(\d{1,4})(?:[.):：][*_]{0,2}[ \t]{1,4}|[、．]|）)(?=\S)",
        re.IGNORECASE | re.MULTILINE,
    ),
}
_HEADER_END = re.compile(r"(?:[:：]|[>`\"'=\-*+_]{3,80}|>)\s{0,8}$")


@dataclass(frozen=True)
class Marker:
    """A number, with the positions of the marker (`start`) and of the passage that follows it (`end`)."""

    start: int
    end: int
    number: int


def find_markers(text: str) -> tuple[Style, list[Marker]] | None:
    """Return the outermost numbering of a text: the first one, with preference for the unambiguous styles."""
    chains = {style: _chain(text, _markers(text, pattern)) for style, pattern in _PATTERNS.items()}
    if len(chains[Style.BRACKET]) < 2:
        inline = _chain(text, _markers(text, _INLINE))
        if len(inline) > 1 or not chains[Style.BRACKET]:
            chains[Style.BRACKET] = inline
    sure = [style for style in (Style.TAG, Style.LABEL, Style.BRACKET) if chains[style]]
    possible = sure or [style for style in (Style.PARENTHESIS, Style.PLAIN) if len(chains[style]) > 1]
    if not possible:
        return None
    style = min(possible, key=lambda style: chains[style][0].start)
    return style, chains[style]


def _markers(text: str, pattern: re.Pattern[str]) -> list[Marker]:
    found = []
    for match in pattern.finditer(text):
        number = next(group for group in match.groups() if group is not None and group.isdigit())
        heading = match.end("heading") if "heading" in pattern.groupindex and match["heading"] else match.start()
        found.append(Marker(heading, match.end(), int(number)))
    return found


def _chain(text: str, markers: Sequence[Marker]) -> list[Marker]:
    """Return the markers of the passages, without markers inside a passage.

    Numbers increase, by one if possible: a passage may contain a list of references. A numbering that starts over after
    a heading follows an example.
    """
    if not markers:
        return []
    best = _count_up(markers, 0)
    for position in range(1, len(markers)):
        marker = markers[position]
        if marker.number == best[0].number and _HEADER_END.search(text[max(0, marker.start - 90) : marker.start]):
            later = _count_up(markers, position)
            if len(later) >= len(best):
                return later
            break
    return best


def _count_up(markers: Sequence[Marker], first: int) -> list[Marker]:
    last_position = {marker.number: position for position, marker in enumerate(markers)}
    chain = [markers[first]]
    for position in range(first + 1, len(markers)):
        number, wanted = markers[position].number, chain[-1].number + 1
        if number == wanted or (number > wanted and last_position.get(wanted, -1) < position):
            chain.append(markers[position])
    return chain
