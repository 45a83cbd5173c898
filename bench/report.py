"""Turns figures into tables, and keeps README.md: one section for each part, replaced when that part is run again."""

import math
import os
import platform
import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

README = Path(__file__).parent / "README.md"
HEAD = """\
# Measurements

Written by `make bench` (`python -m bench`); `python -m bench project1` measures one part and replaces its section only,
and `--quick` tries everything in some seconds and writes nothing. Everything runs on one machine, over loopback, with a
model server that costs nothing (`paced_model.py`): so these are the costs of the services, not of a model. The absolute
figures belong to the machine named below; what carries over to others are the comparisons within one run.
"""


def percentile(values: Iterable[float], percent: float) -> float:
    """The nearest-rank percentile: the smallest value that is not below `percent` of all of them."""
    ordered = sorted(values)
    return ordered[max(math.ceil(len(ordered) * percent / 100), 1) - 1]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, all columns but the first to the right."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, rule, *rows])


def conditions(part: str, packages: Iterable[str]) -> str:
    """When, where and with what: for the top of a section."""
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, `python -m bench {part}`, {os.cpu_count()} cores ({platform.machine()}), "
        f"{platform.system()}, Python {platform.python_version()}; {versions}."
    )


def noise(others_busy: float) -> str:
    """What the rest of the machine means for the figures; given the part of all cores' time that it took."""
    verdict = (
        "The machine was as good as idle otherwise."
        if others_busy < 0.1
        else "**So the times below are partly waits for a processor**; the ratios and processor times suffer less."
    )
    return f"Other processes took {others_busy:.0%} of the processor time meanwhile. {verdict}"


def aims(rows: Iterable[tuple[str, str, str, bool]]) -> str:
    """A table of aims: what, the aim, what was measured, and whether it was reached."""
    return table(
        ["", "aim", "measured", ""], [(*row, "reached" if reached else "**missed**") for *row, reached in rows]
    )


def write_sections(sections: dict[str, str], order: Sequence[str]) -> None:
    """Put sections into README.md, in the order of the parts. Those of parts that did not run stay, and others too."""
    kept = _sections(README.read_text()) if README.exists() else {}
    merged = kept | sections
    names = [name for name in order if name in merged] + [name for name in merged if name not in order]
    texts = [f"<!-- {name} -->\n{merged[name].strip()}\n" for name in names]
    README.write_text("\n".join([HEAD, *texts]))


def _sections(text: str) -> dict[str, str]:
    _, *parts = re.split(r"^<!-- (\w+) -->\n", text, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))
