"""Modules of projects: no name of this service hides one of theirs, and no name of theirs breaks this service."""

import builtins
import subprocess
import sys
from pathlib import Path

import pytest

import shared.errors
from project4_agent_api.graphs.project_imports import ProjectImports
from shared.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _restored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", list(sys.path))
    monkeypatch.setattr(builtins, "__import__", builtins.__import__)


def write(folder: Path, files: dict[str, str]) -> ProjectImports:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    modules = ProjectImports.for_folder(folder)
    modules.add_root(folder)
    return modules


@pytest.mark.parametrize("name", ["shared", "local", "learn", "tests", "project4_agent_api"])
@pytest.mark.parametrize("package", [True, False], ids=["package", "folder"])
def test_project_package_with_our_name_is_its_own(tmp_path: Path, name: str, package: bool) -> None:
    files = {
        "graph.py": f"import {name}.words\nfrom {name} import words\nfrom {name}.words import word\n"
        f"def late():\n    from {name}.late import value\n    return value\n"
        f"graph = [{name}.words.word, words.word, word]\n",
        f"{name}/words.py": f"from {name}.deeper.more import word\n",
        f"{name}/deeper/more.py": "word = 'theirs'\n",
        f"{name}/late.py": f"import {name}.words\nvalue = {name}.words.word\n",
    }
    if package:
        files |= {f"{name}/__init__.py": "", f"{name}/deeper/__init__.py": ""}
    modules = write(tmp_path, files)

    assert modules.import_object("./graph.py:graph") == ["theirs"] * 3
    assert modules.import_object("./graph.py:late")() == "theirs"
    assert modules.import_object(f"./{name}/words.py:word") == "theirs"
    assert modules.import_object(f"{name}.deeper.more:word") == "theirs"
    assert sys.modules["shared.errors"] is shared.errors
    import shared as again  # noqa: PLC0415  what this test is about

    assert again.errors is shared.errors


@pytest.mark.parametrize("name", ["main", "agents", "agent", "graph", "utils", "json", "types"])
def test_file_with_any_name_is_loaded_once(tmp_path: Path, name: str) -> None:
    (tmp_path / "project").mkdir()
    modules = write(tmp_path / "project", {f"{name}.py": "class State:\n    pass\n"})
    state = modules.import_object(f"./{name}.py:State")

    assert modules.import_object(f"./{name}.py:State") is state
    assert vars(sys.modules[state.__module__])["State"] is state
    assert __import__("json").dumps({}) == "{}"


def test_file_of_a_package_may_import_relatively_and_absolutely(tmp_path: Path) -> None:
    modules = write(
        tmp_path,
        {
            "src/team_agent/__init__.py": "from team_agent.graph import graph\n",
            "src/team_agent/graph.py": "from team_agent.state import State\nfrom .state import State as same\n"
            "graph = [State, same]\n",
            "src/team_agent/state.py": "class State:\n    pass\n",
        },
    )

    first, second = modules.import_object("./src/team_agent/graph.py:graph")

    assert first is second
    assert first.__module__ == "team_agent.state"


def test_names_that_are_no_identifiers_are_loaded(tmp_path: Path) -> None:
    modules = write(tmp_path, {"my-agent/graph v1.py": "graph = 1\n", "my-agent/other.py": "graph = 2\n"})

    assert modules.import_object("./my-agent/graph v1.py:graph") == 1
    assert modules.import_object("./my-agent/other.py:graph") == 2
    with pytest.raises(ConfigurationError, match=r"there is no file ./my-agent/none\.py"):
        modules.import_object("./my-agent/none.py:graph")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("import langchain_core.pydantic_v1", r"langchain_core \S+ is installed, and the project"),
        ("from langgraph.graph import Gone", r"langgraph \S+ is installed, and the project"),
        ("from langgraph.checkpoint import not_there", "install the project's packages alongside this service"),
        ("import langgraph.checkpoint.not_there", "install the project's packages alongside this service"),
        ("import not_there", "install the project's packages alongside this service"),
        ("raise ValueError('1 error\\n  KEY_OF_TOOL has to be set')", "ValueError: 1 error KEY_OF_TOOL has to be set"),
    ],
)
def test_reason_of_a_failed_import_says_what_to_do(tmp_path: Path, source: str, why: str) -> None:
    modules = write(tmp_path, {"graph.py": source})

    with pytest.raises(ConfigurationError, match=why) as refused:
        modules.import_object("./graph.py:graph")
    assert "\n" not in str(refused.value)


def test_missing_package_is_named_although_the_file_is_imported_by_its_own_package(tmp_path: Path) -> None:
    files = {
        "src/writer/__init__.py": "from writer.graph import app\n",
        "src/writer/graph.py": "from writer.utils.state import State\nfrom writer.utils.nodes import app\n",
        "src/writer/utils/state.py": "State = dict\n",
        "src/writer/utils/nodes.py": "import a_package_that_is_missing\n",
    }
    with pytest.raises(ConfigurationError, match="No module named 'a_package_that_is_missing'; install"):
        write(tmp_path, files).import_object("./src/writer/graph.py:app")


def test_file_may_do_without_its_broken_package(tmp_path: Path) -> None:
    files = {"pen/__init__.py": "import a_package_that_is_missing\n", "pen/graph.py": "app = 5\n"}
    assert write(tmp_path, files).import_object("./pen/graph.py:app") == 5


def test_stored_class_names_do_not_depend_on_the_folder(tmp_path: Path) -> None:
    """A state that names its class is read after the project was moved."""
    names = []
    for folder in ("here", "elsewhere"):
        files = {"shared/state.py": "class State:\n    pass\n", "my-agent.py": "class Other:\n    pass\n"}
        for name, text in files.items():
            (tmp_path / folder / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / folder / name).write_text(text)
        code = (
            "import sys; from pathlib import Path\n"
            "from project4_agent_api.graphs.project_imports import ProjectImports\n"
            "modules = ProjectImports.for_folder(Path(sys.argv[1])); modules.add_root(Path(sys.argv[1]))\n"
            "print(modules.import_object('./shared/state.py:State').__module__)\n"
            "print(modules.import_object('./my-agent.py:Other').__module__)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / folder)], capture_output=True, text=True, check=True
        )
        names.append(done.stdout)

    assert names[0] == names[1]
    assert names[0].startswith("langgraph_project.shared.state\n")
