"""Refuse phrases that stand where a technical noun belongs, and exceptions to lint rules without a reason.

CONTRIBUTING.md has the rules, which hold for docstrings, comments and messages. `python .ci/prose.py [PATH…]` prints
each place with what to do instead, and exits with 1 if there are any.
"""

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

_OPENING = re.compile(r"(?:What|Whatever|Who|Whoever|Whom|Whose|Where|Which|That)\b(?! to\b)(?!.*\?$)")
_ELLIPSIS = re.compile(r"\w+: (?:Of|Those|Whose|Whom|Its|Their)\b")
_ARGUMENT = re.compile(r"\w+: (?:(?:Of|For|To|From|With) [\w' ]{1,30}|Whose|Which(?: one)?|It|The same|Likewise)\.$")
_HABITS = {
    re.compile(r"\bwho(?:m)?ever\b|\bwhatever (?:it|is|was|they)\b", re.IGNORECASE): "name the caller or the value",
    re.compile(r"\bwho (?:asks|wants|reads|waits|makes)\b"): "say caller, client or reader",
    re.compile(r"\b(?:is|are|was|were) away\b"): "say unavailable or lost",
    re.compile(r"\b(?:is|are|was|were) (?:told|heard)\b"): "say notified, published or received",
    re.compile(r"\b(?:it|that|run|which|one|there) (?:is|are|was) over\b"): "say finished or ended",
    re.compile(r"\bbegun\b"): "say started or claimed",
    re.compile(r"\b(?:mend|mends|mended)\b"): "say fix or repair",
    re.compile(r"\bin place of\b"): "say instead of",
    re.compile(r"\b(?:asked|given) for it\b"): "name the requested value",
}
_BARE_IGNORE = re.compile(r"(?:noqa(?:: [A-Z]+\d+(?:,? [A-Z]+\d+)*)?|type: ignore(?:\[[\w, -]+\])?|pragma: no cover)$")
_SKIPPED = ("/migrations/versions/",)


def main(paths: list[str]) -> int:
    """Check the files that git tracks, or those below some paths."""
    listed = subprocess.run(["git", "ls-files", "--", *(paths or ["*.py"])], capture_output=True, text=True, check=True)
    files = [path for path in listed.stdout.splitlines() if path.endswith(".py")]
    found = 0
    for path in files:
        if path == ".ci/prose.py" or any(part in f"/{path}" for part in _SKIPPED) or not Path(path).exists():
            continue
        for line, advice, text in _check(Path(path).read_text(encoding="utf-8")):
            print(f"{path}:{line}: {advice}: {text[:100]}")
            found += 1
    if found:
        print(f'{found} places; CONTRIBUTING.md, "How we write", has the rules and examples.', file=sys.stderr)
    return int(found > 0)


def _check(source: str) -> Iterator[tuple[int, str, str]]:
    tree = ast.parse(source)
    for line, docstring in _docstrings(tree):
        first, *_ = docstring.lstrip().splitlines() or [""]
        if _OPENING.match(first):
            yield line, "begin with a verb or a noun", first
        for offset, text in enumerate(docstring.splitlines()):
            if _ARGUMENT.match(text.strip()):
                yield line + offset, "delete an entry that says no more than its name and type", text.strip()
            elif _ELLIPSIS.match(text.strip()):
                yield line + offset, "begin an entry with the noun that it describes", text.strip()
    for line, text in _texts(tree, source):
        for habit, advice in _HABITS.items():
            if habit.search(text):
                yield line, advice, text.strip()
        if text.startswith("#") and _BARE_IGNORE.search(text):
            yield line, "give the reason of the exception", text.strip()


def _docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            if docstring is not None:
                yield node.body[0].lineno, docstring


def _texts(tree: ast.Module, source: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of all strings with spaces (docstrings, messages), and all comments."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield from ((node.lineno + offset, text) for offset, text in enumerate(node.value.splitlines()))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
