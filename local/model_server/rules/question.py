"""Finding the question in a prompt with other content."""

import re

_WORDS = (
    r"(?:(?:user|the|my|current|latest|customer|your|original|input)(?:'s)?[ \t])?(?:question|query)"
    "|用户问题|用户提问|问题|提问|查询"
)
_LABEL = re.compile(
    rf"^[ \t#>*_]{{0,8}}(?:{_WORDS}|q|human|user|user input)[ \t]?[*_]{{0,2}}[:：][*_]{{0,2}}"
    rf"|^[ \t]{{0,8}}#{{1,5}}[ \t]{{0,4}}(?:{_WORDS})[ \t]{{0,8}}$"
    r"|<(?:user_?)?(?:question|query|问题)>"
    r"|(?<=[.!?。！？\]】)）>\"”])[ \t]{1,4}(?:question|query)[ \t]?[:：]"
    r"|(?<=[。！？\]】）])[ \t]{0,4}(?:用户问题|问题|提问)[ \t]?[:：]",
    re.IGNORECASE | re.MULTILINE,
)
# Labels that end a question.
_NEXT_LABEL = re.compile(
    r"(?:^|[ \t])[#>*_]{0,6}[ \t]?(?:(?:helpful|final|your|concise|short|detailed|the)[ \t])?"
    r"(?:answer|response|assistant|contexts?|sources|documents|passages|search results|instructions?"
    r"|context information|retrieved \w{1,20}|回答|答案|答|回复|上下文|参考资料|资料|文档|参考|注意"
    r"|要求)[*_]{0,2}[ \t]?[:：]"
    r"|^[ \t]{0,8}a[:：]|</(?:user_?)?(?:question|query|问题)>|^[ \t]{0,8}<[a-z_]{1,40}>",
    re.IGNORECASE | re.MULTILINE,
)
_ASKING = re.compile(
    r"[?？]|^\W{0,4}(?:who|what|when|where|why|how|which|whose|whom|is|are|was|were|do|does|did|can|could|should|will"
    r"|tell|explain|describe|list|name|give|summari[sz]e|find)\b|什么|多少|怎么|怎样|如何|为什么|为何|哪|谁"
    r"|几|是否|吗|请问|总结|概括|介绍",
    re.IGNORECASE,
)


def cut_question(text: str, start: int) -> tuple[int | None, str]:
    """Find the last labelled question (`Question: …`, `问题：…`, `<question>…`) from a position on.

    Returns:
        The position of the label, and the question; (None, "") if no label is followed by text.
    """
    found: tuple[int | None, str] = (None, "")
    for match in _LABEL.finditer(text, start):
        following = text[match.end() : match.end() + 4000]
        if label := _NEXT_LABEL.search(following):
            following = following[: label.start()]
        if question := following.strip(' \t\r\n*_"“”`'):
            found = (match.start(), question.split("\n\n")[0].strip())
    return found


def has_label(text: str) -> bool:
    """Return whether a text has a label for a question."""
    return _LABEL.search(text) is not None


def is_question(text: str) -> bool:
    """Return whether a text looks like a question or a request, and not like an instruction or a passage."""
    return len(text) < 1000 and _ASKING.search(text) is not None


def question_part(text: str) -> str:
    """Return the last line (of a long line, the last sentence) with a question mark; without one, the whole text."""
    text = text[-4000:]
    lines = [line.strip() for line in text.splitlines() if "?" in line or "？" in line]
    if not lines:
        return text.strip()
    line = lines[-1]
    if len(line) <= 300:
        return line
    end = max(line.rfind("?"), line.rfind("？"))
    return line[max(line.rfind(mark, 0, end) for mark in ".!?。！？") + 1 : end + 1].strip()
