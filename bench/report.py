"""Format results as tables, and update README.md: one section per part, replaced when the part is run again."""

import math
import os
import platform
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

README = Path(__file__).parent / "README.md"


def percentile(values: Iterable[float], percent: float) -> float:
    """Return the nearest-rank percentile: the smallest value that is not below `percent` of all values."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; all columns but the first are right-aligned."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])


def template(name: str) -> str:
    """Return the text of a section of README.md, with placeholders."""
    return (Path(__file__).parent / "reports" / f"{name}.md").read_text("utf-8")


def conditions(part: str, packages: Iterable[str]) -> str:
    """Return the date, the machine and the versions, for the top of a section."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, `python -m bench {part}`, {os.cpu_count()} cores ({platform.machine()}), "
        f"{platform.system()}, Python {platform.python_version()}; {versions}."
    )


def noise(others_busy: float) -> str:
    """Return a note on the share of CPU time that other processes used during the measurement."""
    verdict = (
        "The machine was otherwise idle."
        if others_busy < 0.1
        else "**The times below therefore include waiting for a CPU**; ratios and CPU times are affected less."
    )
    return f"Other processes used {others_busy:.0%} of the CPU time during the measurement. {verdict}"


def aims(rows: Iterable[tuple[str, str, str, bool]]) -> str:
    """Return a table of aims: subject, aim, measured value, and whether the aim was reached."""
    return table(
        ["", "aim", "measured", ""], [(*row, "reached" if reached else "**missed**") for *row, reached in rows]
    )


def write_sections(sections: dict[str, str], order: Sequence[str]) -> None:
    """Write sections to README.md, in the order of the parts. All other sections are kept, including those by hand."""
    kept = _sections(README.read_text()) if README.exists() else {}
    merged = kept | sections
    names = [name for name in order if name in merged] + [name for name in merged if name not in order]
    texts = [f"<!-- {name} -->\n{merged[name].strip()}\n" for name in names]
    README.write_text("\n".join([template("head"), *texts]))


def _sections(text: str) -> dict[str, str]:
    _, *parts = re.split(r"^<!-- (\w+) -->\n", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))
