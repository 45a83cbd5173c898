"""A checkout with Windows' line endings, and variables on the command line of make."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def windows_checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone as Git for Windows makes it by default, with the attributes of the working tree."""
    clone = tmp_path_factory.mktemp("windows") / "clone"
    run("git", "clone", "--quiet", "--no-checkout", "-c", "core.autocrlf=true", str(ROOT), str(clone))
    shutil.copy(ROOT / ".gitattributes", clone / ".git" / "info" / "attributes")
    run("git", "checkout", "--quiet", cwd=clone)
    return clone


def run(*command: str, cwd: Path = ROOT) -> str:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


def test_windows_checkout_has_line_feeds_only(windows_checkout: Path) -> None:
    lines = [line.split() for line in run("git", "ls-files", "--eol", cwd=windows_checkout).splitlines()]

    assert [line for line in lines if line[1] not in {"w/lf", "w/none", "w/-text"}] == []
    assert len(lines) > 500
    assert run("git", "status", "--porcelain", cwd=windows_checkout) == ""


def test_files_with_fixed_bytes_are_not_converted(windows_checkout: Path) -> None:
    for file in [*ROOT.glob("requirements/*.lock"), *ROOT.glob("examples/documents/*"), *ROOT.glob("deploy/**/*.sql")]:
        name = str(file.relative_to(ROOT))
        if run("git", "ls-files", "--", name):
            assert "text: unset" in run("git", "check-attr", "text", "--", name, cwd=windows_checkout), name


def test_scripts_of_a_windows_checkout_are_valid(windows_checkout: Path) -> None:
    scripts = [*windows_checkout.glob("deploy/**/*.sh"), *windows_checkout.glob("requirements/*.sh")]
    assert len(scripts) >= 5
    for script in scripts:
        run("sh", "-n", str(script))
    run("bash", "-n", str(windows_checkout / ".ci" / "run"))
    assert "make deploy" in run("make", "help", cwd=windows_checkout)
    assert "deploy.rolling" in run("make", "-n", "deploy", cwd=windows_checkout)


def test_make_variables_on_the_command_line_leave_an_inner_make_alone(tmp_path: Path) -> None:
    makefile = tmp_path / "Makefile"
    makefile.write_text(
        f"include {ROOT}/Makefile\n"
        f"outer:\n\t@COMPOSE='inner -f file' make --no-print-directory -f {makefile} inner\n"
        "inner:\n\t@echo compose=$$COMPOSE container=$$CONTAINER args=$(ARGS)\n"
    )

    shown = run(
        "make", "--no-print-directory", "-f", str(makefile), "outer", "COMPOSE=outer", "CONTAINER=podman", "ARGS=-x"
    )

    assert shown == "compose=inner -f file container=podman args=\n"
