"""Remove from a document's text what nobody searches for: badges, data URLs, stray tags, menus, rows of dots.

Code, between fences or backquotes, keeps everything but data URLs and characters that are none: there, a tag is text.
"""

import re
from collections.abc import Iterator

# Unicode's noncharacters, the replacement character, controls, and the private range of Symbol and Wingdings.
_NO_CHARACTER = re.compile(
    "[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\uf000-\uf0ff\ufdd0-\ufdef\ufff9-\uffff"
    + "".join(f"{chr(plane * 0x10000 + 0xFFFE)}{chr(plane * 0x10000 + 0xFFFF)}" for plane in range(1, 17))
    + "]+"
)
_DATA_URL = re.compile(r"data:[a-z]{2,20}/[\w.+-]{1,80}(?:;[\w=.+-]{1,80}){0,4},[\w+/=%~:&!$'*.,;-]*", re.IGNORECASE)
_CODE_LINE = re.compile(r" {0,3}(`{3,}|~{3,})")

_BADGE = (
    r"""[^\s()<>"']*(?:shields\.io|badge|codecov\.io|coveralls\.io|circleci\.com|travis-ci\.|\.svg(?=[?)\s"'>#]))"""
)
_INLINE_CODE = r"(?P<code>(?P<ticks>`+)[^`\n]+(?P=ticks))"
_MARKDOWN_IMAGE = r"!\[(?P<{0}>[^\[\]]{{0,300}})\]\((?P<{0}_url>[^()\s]{{0,2000}})(?:\s+[\"'][^\"'\n]{{0,300}}[\"'])?\)"
_LINKED_IMAGE = re.compile(rf"{_INLINE_CODE}|\[{_MARKDOWN_IMAGE.format('alt')}\]\([^()\s]{{0,2000}}\)")
_IMAGE = re.compile(f"{_INLINE_CODE}|{_MARKDOWN_IMAGE.format('alt')}")
_BADGE_URL = re.compile(_BADGE, re.IGNORECASE)
_BADGE_DEFINITION = re.compile(
    rf"^ {{0,3}}\[[^\]\n]{{1,100}}\]:[ \t]*<?(?:https?:)?{_BADGE}.*$", re.IGNORECASE | re.MULTILINE
)
_TAGS = """
    a abbr address article aside b big blockquote body br button center code col colgroup dd del details div dl dt em
    figcaption figure font footer form h1 h2 h3 h4 h5 h6 head header hr html i iframe img input ins kbd label li link
    main mark meta nav ol option p picture pre q s samp section select small source span strike strong sub summary sup
    svg table tbody td tfoot th thead title tr tt u ul var video wbr
"""
_TAG = re.compile(rf"{_INLINE_CODE}|</?(?:{'|'.join(_TAGS.split())})(?:\s[^<>]{{0,2000}})?/?>", re.IGNORECASE)
_LEADER = re.compile(r"[ \t]?([.·•…‥․・。_=*~\-–—─━⋯])(?:[ \t]?\1){3,}[ \t]?")
_TABLE_ROW = re.compile(r"[ \t]*\|.*\|[ \t]*")
_WORD = re.compile(r"[^\W_]")

_MENU_WORDS = """
    home|about|about us|contact|contact us|log ?in|log ?out|sign ?in|sign ?up|sign ?out|register|my account|account|menu
    |search|skip to (?:main )?content|privacy|privacy policy|terms|terms of (?:use|service)|terms and conditions|cookies
    |cookie (?:policy|settings)|accept all|site ?map|help|faq|support|blog|news|products|services|careers|jobs|press
    |subscribe|newsletter|share|tweet|print|facebook|twitter|x|linkedin|instagram|youtube|rss|cart|basket|checkout
    |next|previous|prev|back|back to top|top|read more|more|english|download|downloads|docs|documentation|pricing
    |首页|主页|关于|关于我们|联系我们|联系方式|登录|登陆|注册|退出|搜索|菜单|导航|网站地图|网站导航|帮助|帮助中心|常见问题|隐私政策|隐私
    |服务条款|使用条款|版权声明|新闻|新闻中心|产品|产品中心|服务|招聘|加入我们|人才招聘|分享|上一页|下一页|上一篇|下一篇|返回顶部|返回首页
    |返回|更多|更多内容|微博|微信|购物车|我的账户|设为首页|加入收藏|友情链接|中文|下载
"""
_MENU_ITEM = re.compile("".join(_MENU_WORDS.split("\n    ")).strip(), re.IGNORECASE)
_MENU_SEPARATOR = re.compile(r"[|｜·•»›>/]|\s{2,}")
_BULLET = re.compile(r"^\s*(?:[-*+•·»›]|\d{1,2}[.)])\s+")
_LINK = re.compile(r"\[([^\[\]]{0,200})\]\([^()\s]{0,2000}\)")
_ANCHOR_LINE = re.compile(r"\s*(?:[-*+]|\d{1,3}[.)])?\s*\[[^\[\]]{1,200}\]\(#[^()\s]{0,300}\)\s*")
_MAX_ITEM_LENGTH = 30
_MIN_ITEMS = 3
_SENTENCE_ENDS = ".!?。！？:：;；"
_MAX_MENU_LENGTH = 1000


def remove_noise(text: str) -> str:
    """Return the text without noise, in time proportional to its length; other lines keep their white space."""
    text = _DATA_URL.sub("", _NO_CHARACTER.sub(" ", text))
    return "".join(part if is_code else _clean(part) for part, is_code in _split_code(text))


def has_words(text: str) -> bool:
    """Return whether a text has a letter or a digit."""
    return _WORD.search(text) is not None


def _split_code(text: str) -> Iterator[tuple[str, bool]]:
    """Yield a text in parts, and whether each is a block of fenced code."""
    if "```" not in text and "~~~" not in text:
        yield text, False
        return
    held: list[str] = []
    fence = ""
    for line in text.splitlines(keepends=True):
        mark = _CODE_LINE.match(line)
        opens = mark is not None and not fence
        if opens and held:
            yield "".join(held), False
            held.clear()
        held.append(line)
        if opens and mark is not None:
            fence = mark[1]
        elif mark is not None and mark[1].startswith(fence) and not line.strip(f" \r\n{fence[0]}"):
            yield "".join(held), True
            held.clear()
            fence = ""
    yield "".join(held), bool(fence)


def _clean(text: str) -> str:
    if "](" in text:
        text = _IMAGE.sub(_alternative_text, _LINKED_IMAGE.sub(_alternative_text, text))
    if "]:" in text:
        text = _BADGE_DEFINITION.sub("", text)
    if "<" in text:
        text = _TAG.sub(lambda match: match["code"] or " ", _without_comments(text))
    lines = text.split("\n")
    kept = [_without_leaders(line) for line in lines]
    menu = _menu_lines(kept)
    return "\n".join("" if number in menu or _is_contents(line) else line for number, line in enumerate(kept))


def _without_comments(text: str) -> str:
    parts = []
    at = 0
    while (start := text.find("<!--", at)) != -1 and (end := text.find("-->", start)) != -1:
        parts.append(text[at:start])
        at = end + len("-->")
    return "".join(parts) + text[at:]


def _alternative_text(match: re.Match[str]) -> str:
    if match["code"]:
        return match["code"]
    return "" if _BADGE_URL.match(match["alt_url"]) else match["alt"]


def _without_leaders(line: str) -> str:
    if _TABLE_ROW.fullmatch(line):
        return line
    short = _LEADER.sub(" ", line)
    if short != line:
        short = short.rstrip(" ")
    return short if has_words(short) or not short.strip() else _unless_only_marks(short)


def _unless_only_marks(line: str) -> str:
    """Drop a line of punctuation: a rule, remains of a badge. Scripts without letters in Unicode's sense stay."""
    return "" if all(character in _MARKS or character.isspace() for character in line) else line


_MARKS = frozenset("|-_=*~.·•…‥․・。–—─━⋯[](){}<>/\\!#+:;,'\"`^")


def _is_contents(line: str) -> bool:
    """Return whether a line only links to a heading of its own document."""
    return "](#" in line and _ANCHOR_LINE.fullmatch(line) is not None


def _menu_lines(lines: list[str]) -> set[int]:
    """Return the numbers of the lines that are a site's menu: short items, most of them from the usual vocabulary."""
    found: set[int] = set()
    run: list[int] = []
    for number, line in enumerate([*lines, "end of the last run. " * 3]):
        if not line.strip():
            continue
        items = _items(line)
        if len(items) >= _MIN_ITEMS and _is_menu(items):
            found.add(number)
        if len(items) == 1 and len(items[0]) <= _MAX_ITEM_LENGTH and items[0][-1] not in _SENTENCE_ENDS:
            run.append(number)
            continue
        if len(run) >= _MIN_ITEMS and _is_menu([_items(lines[index])[0] for index in run]):
            found.update(run)
        run.clear()
    return found


def _items(line: str) -> list[str]:
    text = _LINK.sub(r"\1", _BULLET.sub("", line[:_MAX_MENU_LENGTH]))
    return [item for part in _MENU_SEPARATOR.split(text) if (item := part.strip(" \t\r*_-"))]


def _is_menu(items: list[str]) -> bool:
    usual = sum(_MENU_ITEM.fullmatch(item) is not None for item in items)
    return 2 * usual > len(items) and all(len(item) <= _MAX_ITEM_LENGTH for item in items)
