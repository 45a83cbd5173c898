"""`python -m bench [PART …] [--quick]`: measure, print the report, and write it to README.md."""

import argparse

import uvloop

from bench import project1, project2, project3, project4
from bench.report import write_sections

PARTS = {"project1": project1, "project2": project2, "project3": project3, "project4": project4}


def main() -> None:
    """Run the benchmarks in order."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure, and write bench/README.md.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="a smoke run of some seconds that writes nothing")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"unknown part: {', '.join(sorted(unknown))}")
    for name, benchmark in PARTS.items():
        if arguments.parts and name not in arguments.parts:
            continue
        print(f"measuring {name} …", flush=True)
        plan = benchmark.QUICK if arguments.quick else benchmark.FULL
        report = benchmark.section(plan, uvloop.run(benchmark.measure(plan)))
        print(report, flush=True)
        if not arguments.quick:
            write_sections({name: report}, order=list(PARTS))


if __name__ == "__main__":
    main()
