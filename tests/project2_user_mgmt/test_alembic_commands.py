"""The `alembic` commands that pages and `alembic.ini` files document."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.support.databases import Databases

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ALEMBIC = ".venv/bin/alembic"
_PAGES = [*ROOT.glob("*.md"), *ROOT.glob("project*/*.md"), *ROOT.glob("project*/alembic.ini")]
_PAGES += [*ROOT.glob("docs/*.md"), *ROOT.glob("docs/questions/*"), *ROOT.glob("learn/**/*.md")]


def _documented(pattern: str) -> list[str]:
    """Return what matches a pattern on any page, once each."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in _PAGES)
    return sorted({match[0].strip() for match in re.finditer(pattern, text, re.MULTILINE)})


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the stages in which stage 2's users have a new field, and no migration for it."""
    for name in ("shared", "project1_qa_api", "project2_user_mgmt", "project3_rag_docs", "project4_agent_api"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    models = tmp_path / "project2_user_mgmt" / "models.py"
    code = models.read_text(encoding="utf-8")
    models.write_text(code.replace("    version: int = 1\n", "    version: int = 1\n    city: str | None = None\n"))
    return tmp_path


def _run(command: str, copy: Path, address: str) -> str:
    script = command.replace(ALEMBIC, f"{sys.executable} -m alembic")
    ran = subprocess.run(
        ["bash", "-c", script],
        cwd=copy,
        env=os.environ | {"DATABASE_URL": address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"
    return ran.stdout


STEPS = re.findall(
    rf"^{re.escape(ALEMBIC)} -c project2.+$", (ROOT / "docs/questions/part-3.md").read_text("utf-8"), re.MULTILINE
)


def test_steps_of_a_migration_add_and_drop_a_column(copy: Path, database_url: str) -> None:
    def columns() -> set[str]:
        with psycopg.connect(database_url) as connection:
            rows = connection.execute("SELECT column_name FROM information_schema.columns WHERE table_name = 'users'")
            return {name for (name,) in rows}

    had_city = []
    printed = {}
    for command in STEPS:
        printed[command.split()[3]] = _run(command, copy, database_url)
        had_city.append("city" in columns())
    assert had_city == [False, True, True, False]
    assert "p2_0002 (head)" in printed["current"]


@pytest.mark.parametrize("command", sorted(set(_documented(rf"{re.escape(ALEMBIC)} [^`\n]+")) - set(STEPS)))
def test_other_documented_commands_work(command: str, copy: Path, databases: Databases) -> None:
    package = command.partition("-c ")[2].partition("/")[0]
    with databases.migrated(package) as address:
        _run(command, copy, address)


def test_documented_address_is_that_of_the_embedded_database(tmp_path: Path, server_url: str) -> None:
    if "TEST_DATABASE_URL" in os.environ:
        pytest.skip("the documented address is the embedded PostgreSQL's; `make test` checks it there")
    with psycopg.connect(server_url) as connection:
        (folder,) = connection.execute("SHOW data_directory").fetchone() or ("",)
    (tmp_path / ".data").mkdir()
    for stage in ("project2", "project3", "project4"):
        (tmp_path / ".data" / stage).symlink_to(Path(folder).parent)

    exports = _documented(r"^ *export DATABASE_URL=.*\.data/.+$")
    assert exports
    for export in exports:
        printed = subprocess.check_output(["bash", "-c", f"{export}; echo $DATABASE_URL"], cwd=tmp_path, text=True)
        assert make_url(printed.strip()) == make_url(server_url)
