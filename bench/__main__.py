"""`python -m bench [PART …] [--quick]`: measure, print the report, and put it into README.md."""

import argparse
from collections.abc import Callable

import uvloop

from bench import (
    project1,
    project1_report,
    project2,
    project2_report,
    project3,
    project3_report,
    project4,
    project4_report,
)
from bench.report import write_sections


def run_project1(*, quick: bool) -> str:
    """Measure stage 1."""
    plan = project1.QUICK if quick else project1.FULL
    return project1_report.section(plan, uvloop.run(project1.measure(plan)))


def run_project2(*, quick: bool) -> str:
    """Measure stage 2."""
    plan = project2.QUICK if quick else project2.FULL
    return project2_report.section(plan, uvloop.run(project2.measure(plan)))


def run_project3(*, quick: bool) -> str:
    """Measure stage 3."""
    plan = project3.QUICK if quick else project3.FULL
    return project3_report.section(plan, uvloop.run(project3.measure(plan)))


def run_project4(*, quick: bool) -> str:
    """Measure stage 4."""
    plan = project4.QUICK if quick else project4.FULL
    return project4_report.section(plan, uvloop.run(project4.measure(plan)))


PARTS: dict[str, Callable[..., str]] = {
    "project1": run_project1,
    "project2": run_project2,
    "project3": run_project3,
    "project4": run_project4,
}


def main() -> None:
    """Run the parts in their order."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure, and write bench/README.md.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all if not given")
    parser.add_argument("--quick", action="store_true", help="a smoke run of some seconds that writes nothing")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    for name, run in PARTS.items():
        if arguments.parts and name not in arguments.parts:
            continue
        print(f"measuring {name} …", flush=True)
        report = run(quick=arguments.quick)
        print(report, flush=True)
        if not arguments.quick:
            write_sections({name: report}, order=list(PARTS))


if __name__ == "__main__":
    main()
