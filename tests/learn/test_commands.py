"""Every command that a page shows is run by a test, or its parts are checked: `HOW` says which, and why not more."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from learn import included, questions
from learn.citations import ROOT
from learn.stages import STAGES

PAGES = [
    *included.pages(),
    *sorted(ROOT.glob("*.md")),
    *sorted(ROOT.glob("project*/README*.md")),
    *sorted(ROOT.glob("examples/*/README*.md")),
    *sorted(ROOT.glob("bench/*.md")),
]
EACH = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
BLOCK = re.compile(r"^ *(`{3,})(?:sh|bash|shell|console)\n(.*?)^ *\1$", re.MULTILINE | re.DOTALL)
OUTPUT = re.compile(r"^(`{3,})text\n.*?^\1$", re.MULTILINE | re.DOTALL)
# A program that begins a command, and how a test checks the command.
HOW = {
    "make": "the target exists, and uses the variables",
    "curl": "the operation exists; test_docs runs those of the READMEs, and test_chapters those of the chapters",
    ".venv/bin/python": "test_docs runs them",
    ".venv/bin/alembic": "tests/project2_user_mgmt/test_alembic_commands.py runs them",
    "python": "the subcommand exists",
    "cp": "the file exists",
    **dict.fromkeys(("cat", "rm"), "a file that the commands before it have written"),
    "cd": "the folder exists",
    **dict.fromkeys(
        ("docker", "apt-get", "ufw", "rclone", "chown", "chmod", "openssl"), "an empty server; see tests/deploy"
    ),
    **dict.fromkeys(("git", "npm", "pip"), "needs the network: see tests/examples and tests/agent_api"),
    "npx": "needs the network: tests/langgraph_projects/own_routes contains the built files",
    **dict.fromkeys(("agent-api", ".venv/bin/agent-api"), "tests/agent_api runs the commands"),
    **dict.fromkeys(("export", "unset", "echo", "until", "kill", "grep", "wait;", "for", "printf"), "the shell's own"),
}
SUBCOMMANDS = {"__main__.py", "cli.py", "commands.py"}  # files of project 4 that define some
PORTS = {str(8000 + number): number for number in STAGES}
PORTS["8080"] = 4  # the proxy


def blocks(page: Path) -> list[str]:
    """Return the blocks of commands of a page. Those of questions are run by test_docs, and so left out here."""
    text = questions.collapse(page.read_text("utf-8"))
    return [found[2] for found in BLOCK.finditer(OUTPUT.sub("", text))]


def commands(block: str) -> Iterator[str]:
    """Yield the commands of a block without comments and assignments of variables, and those inside `$(…)`."""
    for line in block.splitlines():
        text = re.split(r"(?:^|\s)#\s", line, maxsplit=1)[0].strip()
        for part in re.split(r" && |(?<=done); ", text):
            yield from re.findall(r"\$\((curl [^|)]*)", part)
            command = re.sub(r"^(?:[A-Z_]+=(?:\$\(.*\)|'[^']*'|\"[^\"]*\"|\S*)\s*)+", "", part)
            if command:
                yield command


@EACH
def test_commands_are_valid_shell(page: Path) -> None:
    for block in blocks(page):
        checked = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False)
        assert checked.stderr == "", block


@EACH
def test_every_command_is_checked(page: Path) -> None:
    for block in blocks(page):
        for command in commands(block):
            program = command.split()[0]
            assert program in HOW, f"{page.name}: {command}"
            match program:
                case "make":
                    check_make(command)
                case "curl":
                    check_curl(command, block)
                case "python":
                    check_cli(command)
                case "cp" | "cd":
                    name = command.split()[1]
                    assert (ROOT / name).exists() or f" {name} && cd" in block, command  # that `git clone` makes


@cache
def makefile() -> dict[str, str]:
    """The rules of the Makefile by target, with what follows each."""
    text = (ROOT / "Makefile").read_text("utf-8")
    rules = re.findall(r"^((?:[a-z][\w-]* ?)+):(.*\n(?:\t.*\n)*)", text, re.MULTILINE)
    return {target: body for targets, body in rules for target in targets.split()}


def check_make(command: str) -> None:
    _, *words = shlex.split(command.replace("…", "x"), comments=True)
    targets = [word for word in words if "=" not in word]
    variables = [word.partition("=")[0] for word in words if "=" in word]
    assert targets, command
    text = (ROOT / "Makefile").read_text("utf-8")
    for target in targets:
        assert target in makefile(), f"there is no target {target}"
    used = {name for target in targets for name in re.findall(r"\$\((?:if \$\()?(\w+)", makefile()[target])}
    # The launcher reads some settings from the environment, to which make passes its command line on.
    settings = {name.upper() for name in STAGES[4].module("settings").Settings.model_fields} | {"EMBEDDED_MODEL"}
    assert set(variables) <= used | settings | set(re.findall(r"^export (.*)$", text, re.MULTILINE)[0].split()), command


@cache
def operations(number: int) -> list[tuple[str, re.Pattern[str]]]:
    """The methods and paths of a project's API."""
    paths = STAGES[number].openapi()["paths"]
    found = [
        (method.upper(), re.compile(re.sub(r"\{[^}]+\}", "[^/]+", path)))
        for path, methods in paths.items()
        for method in methods
    ]
    return [*found, *[("GET", re.compile(path)) for path in ("/", "/docs", "/metrics", "/openapi.json")]]


def check_curl(command: str, block: str) -> None:
    runs = "http://127.0.0.1:8004/threads/THREAD/runs"  # what the tour keeps in $RUNS
    found = re.search(
        r"http://127\.0\.0\.1:(\d+)(/[^\s'\"?)]*)",
        command.replace("$RUNS", runs).replace("$API", "http://127.0.0.1:8004"),
    )
    assert found, command
    method = re.search(r"-X (\w+)", command)
    sends = re.search(r"(^| )(-d|-F|--data\S*) ", command)
    called = method[1] if method else "POST" if sends else "GET"
    of_run = "$RUN" in command and "$RUNS" not in command and "/runs/" in block  # THREAD/runs/RUN in one variable
    path = re.sub(r"\$\w+", "x/runs/x" if of_run else "x", found[2])
    project = PORTS[found[1]]
    if "/chat" in path or "/texts" in path:
        return  # of a chapter, which test_chapters runs
    assert any(called == one and pattern.fullmatch(path) for one, pattern in operations(project)), command


def check_cli(command: str) -> None:
    _, flag, module, *rest = shlex.split(command)
    if module == "build":
        return  # tests/agent_api builds the wheel
    assert (flag, module) == ("-m", "project4_agent_api")
    if rest:
        texts = [path.read_text("utf-8") for path in STAGES[4].folder.rglob("*.py") if path.name in SUBCOMMANDS]
        assert any(f'"{rest[0]}"' in text for text in texts), command
