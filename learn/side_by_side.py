"""Render two stages' files side by side as a self-contained HTML file; on a phone, one below the other."""

import difflib
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from learn.definitions import Compared, compare_definitions
from learn.differences import Difference

_CONTEXT = 3  # unchanged lines around a change
_STYLE = "\n" + Path(__file__).with_suffix(".css").read_text("utf-8")


def html_page(found: Difference) -> str:
    """Return the page of a difference, with each file that both stages have."""
    earlier, later = found.earlier.stage, found.later.stage
    title = f"{earlier.package} → {later.package}"
    contents = ", ".join(f'<a href="#{escape(path)}">{escape(path)}</a>' for path in found.changed_files)
    files = "\n".join(_file(found, path) for path in found.changed_files)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{escape(title)}</h1>
<p class="legend">Files that both projects have <span lang="zh">两个项目都有的文件</span>:
<span style="background: var(--left)">{escape(earlier.package)}</span>
<span style="background: var(--right)">{escape(later.package)}</span></p>
<p>{contents}</p>
{files}
</body>
</html>
"""


def _file(found: Difference, path: str) -> str:
    compared = compare_definitions(path, found.earlier.files[path], found.later.files[path])
    definitions = "".join(map(_definition, compared))
    return f'<h2 id="{escape(path)}">{escape(path)}</h2>\n{definitions}'


def _definition(compared: Compared) -> str:
    name = f"<h3>{escape(compared.name)} <small>{compared.kind}</small></h3>\n" if compared.name else ""
    if compared.kind == "replaced":
        rows = "".join(_rows(compared.before, compared.after))
    else:
        rows = _pair("changed", [], compared.after)
    return f'{name}<div class="file">\n{rows}</div>'


def _rows(before: Sequence[str], after: Sequence[str]) -> Iterator[str]:
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    operations = matcher.get_opcodes()
    for place, (tag, start, end, after_start, after_end) in enumerate(operations):
        if tag != "equal":
            yield _pair("changed", before[start:end], after[after_start:after_end])
            continue
        lines = before[start:end]
        head = _CONTEXT if place > 0 else 0
        tail = _CONTEXT if place + 1 < len(operations) else 0
        if len(lines) <= head + tail + 1:
            yield _pair("same", lines, lines)
            continue
        hidden = lines[head : len(lines) - tail]
        yield _pair("same", lines[:head], lines[:head]) if head else ""
        yield f"<details><summary>… {len(hidden)}</summary>{_pair('same', hidden, hidden)}</details>\n"
        yield _pair("same", lines[-tail:], lines[-tail:]) if tail else ""


def _pair(kind: str, left: Sequence[str], right: Sequence[str]) -> str:
    before, after = (escape("\n".join(lines)) for lines in (left, right))
    return f'<div class="pair {kind}"><pre class="left">{before}</pre><pre class="right">{after}</pre></div>\n'
