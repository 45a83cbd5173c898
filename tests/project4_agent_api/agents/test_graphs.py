"""`langgraph.json`: every kind of graph, the arguments of factories, and errors at the start."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.pregel import Pregel
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command
from loguru import logger

from project4_agent_api.bootstrap import load_project
from project4_agent_api.graphs.registry import Graphs
from shared.errors import ConfigurationError, NotFound
from shared.settings import AppEnv
from tests.project4_agent_api.agents.conftest import MakeServices, MakeSettings, asked
from tests.support.scripted_model import ScriptedModel, says

EXAMPLE = Path(__file__).parents[3] / "examples" / "agents" / "langgraph.json"

COMMON = """
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypedDict
from langchain_core.runnables import RunnableConfig
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph_sdk.runtime import ServerRuntime
from project4_agent_api.agents.services import Services

class State(TypedDict, total=False):
    said: str

MADE = []

def saying(said):
    MADE.append(said)
    builder = StateGraph(State)
    builder.add_node("say", lambda state: {"said": said})
    builder.add_edge(START, "say")
    return builder
"""
KINDS = {
    "compiled": 'graph = saying("hello").compile()',
    "builder": 'graph = saying("hello")',
    "function": 'def graph():\n    return saying("hello").compile()',
    "coroutine": 'async def graph():\n    return saying("hello")',
    "config": 'def graph(config: RunnableConfig):\n    return saying(config["configurable"]["word"])',
    "plain config": 'async def graph(config):\n    return saying(config["configurable"]["word"])',
    "dict config": 'def graph(config: dict[str, Any]):\n    return saying(config["configurable"]["word"])',
    "late annotation": 'def graph(config: "RunnableConfig"):\n    return saying(config["configurable"]["word"])',
    "runtime": (
        "async def graph(runtime: ServerRuntime):\n"
        '    assert runtime.execution_runtime and runtime.user["identity"] == "someone"\n'
        "    assert runtime.ensure_user().is_authenticated and list(runtime.user) and runtime.store is not None\n"
        '    return saying("hello")'
    ),
    "runtime of a context": 'def graph(runtime: ServerRuntime[State]):\n    return saying("hello")',
    "config and runtime": (
        "def graph(runtime: ServerRuntime, config: RunnableConfig):\n"
        '    assert runtime.access_context == "threads.create_run"\n'
        '    return saying(config["configurable"]["word"])'
    ),
    "services": (
        "def graph(services: Services):\n    assert services.settings.llm_model == 'm'\n    return saying('hello')"
    ),
    "config and services": (
        "def graph(services: Services, config: RunnableConfig, more: int = 1):\n"
        '    return saying(config["configurable"]["word"]) if services.chat_models else None'
    ),
    "context manager": (
        "@asynccontextmanager\nasync def graph():\n"
        '    MADE.append("opened")\n'
        '    yield saying("hello")\n'
        '    MADE.append("closed")'
    ),
    "context manager of a config": (
        "@asynccontextmanager\nasync def graph(config: RunnableConfig):\n"
        '    yield saying(config["configurable"]["word"]).compile()'
    ),
    "synchronous context manager": (
        '@contextmanager\ndef graph(config: RunnableConfig | None):\n    yield saying("hello")'
    ),
    "generator": 'def graph():\n    yield saying("hello").compile()',
    "asynchronous generator": 'async def graph(config: RunnableConfig):\n    yield saying("hello")',
    "callable object": 'class Make:\n    def __call__(self):\n        return saying("hello")\ngraph = Make()',
    "workflow": '@entrypoint()\nasync def graph(state: dict) -> dict:\n    return {"said": "hello"}',
}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave Python's path and the environment as they were."""
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]


def project(folder: Path, source: str, **file: Any) -> Path:
    """Write a team's project; give its `langgraph.json`."""
    (folder / "team.py").write_text(COMMON + source)
    path = folder / "langgraph.json"
    path.write_text(json.dumps({"graphs": {"team": "./team.py:graph"}} | file))
    return path


async def said_by(graphs: Graphs, name: str = "team") -> str:
    config: Any = {"configurable": {"thread_id": "1", "word": "hello", "langgraph_auth_user_id": "someone"}}
    saver, store = InMemorySaver(), InMemoryStore()
    async with graphs.open(name, config, checkpointer=saver, store=store) as graph:
        assert isinstance(graph, Pregel)
        assert (graph.checkpointer, graph.store, graph.name) == (saver, store, name if name == "team" else graph.name)
        result = await graph.ainvoke({"said": ""}, config)
        assert (await graph.aget_state(config)).config["configurable"]["checkpoint_id"]
    said: str = result["said"]
    return said


@pytest.mark.parametrize("kind", KINDS)
async def test_graphs_of_all_kinds_are_loaded(make_services: MakeServices, tmp_path: Path, kind: str) -> None:
    path = project(tmp_path, KINDS[kind])
    async with make_services() as services:
        graphs = await Graphs.load(path, services)

        assert graphs.names() == ["agent", "rag", "team"]
        if kind == "workflow":
            config: Any = {"configurable": {"thread_id": "1"}}
            async with graphs.open("team", config, checkpointer=InMemorySaver(), store=None) as graph:
                assert await graph.ainvoke({"x": 1}, config) == {"said": "hello"}
            return
        for _ in range(2):
            assert await said_by(graphs) == "hello"


async def test_run_independent_graphs_are_built_once(make_services: MakeServices, tmp_path: Path) -> None:
    made = {"function": 1, "services": 1, "config": 3, "context manager": 9}
    async with make_services() as services:
        for kind, times in made.items():
            folder = tmp_path / kind
            folder.mkdir()
            path = project(folder, KINDS[kind] + "\ndef count():\n    return saying(str(len(MADE)))\n")
            graphs = await Graphs.load(path, services)
            for _ in range(3):
                await said_by(graphs)
            path.write_text('{"graphs": {"team": "./team.py:count"}}')
            counting = await Graphs.load(path, services)
            assert await said_by(counting) == str(times), kind


async def test_graph_with_its_own_saver_gets_the_services(make_services: MakeServices, tmp_path: Path) -> None:
    source = "from langgraph.checkpoint.memory import InMemorySaver\n"
    path = project(tmp_path, source + 'graph = saying("hello").compile(checkpointer=InMemorySaver())')
    async with make_services() as services:
        assert await said_by(await Graphs.load(path, services)) == "hello"


async def test_runs_of_a_graph_have_their_own_savers(make_services: MakeServices) -> None:
    async with make_services() as services:
        graphs = await Graphs.load(None, services)
        one, other = InMemorySaver(), InMemorySaver()
        async with (
            graphs.open("agent", {}, checkpointer=one, store=None) as first,
            graphs.open("agent", {}, checkpointer=other, store=None) as second,
        ):
            assert first.checkpointer is one
            assert second.checkpointer is other
            assert first.nodes is second.nodes


async def test_unknown_graph_is_not_found(make_services: MakeServices) -> None:
    async with make_services() as services:
        graphs = await Graphs.load(None, services)
        assert graphs.names() == ["agent", "rag"]
        assert all(graphs.description(name) for name in graphs.names())
        with pytest.raises(NotFound, match="no graph named nothing"):
            async with graphs.open("nothing", {}, checkpointer=None, store=None):
                pass


async def test_factory_without_a_graph_fails_its_run_only(make_services: MakeServices, tmp_path: Path) -> None:
    path = project(tmp_path, "def graph(config):\n    return 5")
    async with make_services() as services:
        graphs = await Graphs.load(path, services)
        with pytest.raises(TypeError, match="graph 'team' is int, not a compiled graph"):
            await said_by(graphs)


async def test_context_manager_exits_after_a_failed_run(make_services: MakeServices, tmp_path: Path) -> None:
    source = (
        "from pathlib import Path\n@asynccontextmanager\nasync def graph():\n    try:\n        yield saying('hello')\n"
        f"    finally:\n        Path({str(tmp_path / 'closed')!r}).touch()\n"
    )
    async with make_services() as services:
        graphs = await Graphs.load(project(tmp_path, source), services)
        with pytest.raises(RuntimeError, match="in the run"):
            async with graphs.open("team", {}, checkpointer=None, store=None):
                raise RuntimeError("in the run")

    assert (tmp_path / "closed").exists()


@pytest.mark.parametrize(
    ("source", "file", "why"),
    [
        ("", {"graphs": {"team": "./nothing.py:graph"}}, r"graph 'team': there is no file ./nothing\.py"),
        ("", {"graphs": {"team": "no.such.module:graph"}}, "importing no.such.module failed: ModuleNotFoundError"),
        ("", {"graphs": {"team": "./team.py"}}, "neither path.py:variable nor package.module:variable"),
        ("", {"graphs": {"team": "./team.py:"}}, "neither path.py:variable nor package.module:variable"),
        ("other = saying('x').compile()", {}, "./team.py has no 'graph'; there is other"),
        ("graph = 5", {}, "graph 'team': it is int, not a compiled graph"),
        ("graph = None", {}, "it is NoneType, not a compiled graph"),
        ("graph = print", {}, "its factory takes 'args'"),
        ("import no_such_package", {}, "importing ./team.py failed: ModuleNotFoundError: No module named 'no_such"),
        ("from .other import x", {}, "importing ./team.py failed: (ImportError|ModuleNotFoundError)"),
        ("this is no Python", {}, "importing ./team.py failed: SyntaxError"),
        ("raise RuntimeError('a\\nb')", {}, "importing ./team.py failed: RuntimeError: a b$"),
        ("import sys; sys.exit('gone')", {}, "importing ./team.py failed: SystemExit: gone"),
        ("graph = StateGraph(State)", {}, "it does not compile: "),
        ("def graph():\n    return 5", {}, "it is int, not a compiled graph"),
        ("def graph():\n    raise KeyError('API_KEY')", {}, "its factory failed: KeyError: 'API_KEY'"),
        ("async def graph():\n    raise KeyError('API_KEY')", {}, "its factory failed: KeyError"),
        ("def graph(config, other):\n    pass", {}, "its factory takes 'other'; it may take"),
        ("def graph(number: int):\n    pass", {}, "its factory takes 'number'"),
        ("def graph(*args):\n    pass", {}, "its factory takes 'args'"),
        ("def graph(config, /):\n    pass", {}, "its factory takes 'config'"),
        ("", {"graphs": {}}, "graphs: Dictionary should have at least 1 item"),
        ("", {"graphs": {"a\nb": "./team.py:graph"}}, "is not the name of a graph"),
        ("", {"graphs": {"": "./team.py:graph"}}, "at least 1 character"),
        ("", {"graphs": {"6ba7b821-9dad-11d1-80b4-00c04fd430c8": "./team.py:graph"}}, "is an id, not a name"),
        ("", {"graphs": {"team": 5}}, "graphs.team"),
        ("", {"graphs": {"team": {"file": "./team.py:graph"}}}, "graphs.team"),
        ("", {"graphs": {"team": "./team.ts:graph"}}, "./team.ts is JavaScript"),
        ("", {"dependencies": ["./nowhere"]}, r"dependencies: there is no folder ./nowhere"),
        ("", {"dependencies": ["!"]}, "'!' is neither a folder nor a package"),
        ("", {"env": 5}, "env"),
        ("", {"store": {"index": {}}}, "store.index.embed: Field required"),
        ("", {"encryption": {"path": "./e.py:e"}}, "'encryption' is not supported: this service calls no handlers"),
    ],
)
async def test_configuration_errors_are_one_line_at_start(
    make_services: MakeServices, tmp_path: Path, source: str, file: dict[str, Any], why: str
) -> None:
    path = project(tmp_path, source, **file)
    async with make_services() as services:
        with pytest.raises(ConfigurationError, match=why) as refused:
            await Graphs.load(path, services)

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ({"checkpointer": {"path": "./saver.py:make_saver"}}, "checkpointer.path"),
        ({"checkpointer": {"backend": "mongo"}}, "checkpointer.backend"),
        ({"store": {"path": "./store.py:store"}}, "store.path"),
    ],
)
async def test_storage_of_a_projects_own_is_ignored_in_development_only(
    agent_settings: MakeSettings, make_services: MakeServices, tmp_path: Path, file: dict[str, Any], key: str
) -> None:
    path = project(tmp_path, "graph = saying('hello')", **file)
    logged: list[str] = []
    sink = logger.add(logged.append)
    try:
        async with make_services() as services:
            assert await said_by(await Graphs.load(path, services)) == "hello"
    finally:
        logger.remove(sink)
    assert f"{key} is ignored, and refused in production" in "".join(logged)
    with pytest.raises(ConfigurationError, match=f"{key} is not supported in production"):
        load_project(agent_settings(langgraph_config=path).model_copy(update={"app_env": AppEnv.PRODUCTION}))


@pytest.mark.parametrize(
    ("content", "why"), [("{", "is not JSON"), ("[]", "has to be a JSON object"), ("\ud800", "is not JSON")]
)
async def test_malformed_langgraph_json_is_reported(
    make_services: MakeServices, tmp_path: Path, content: str, why: str
) -> None:
    path = tmp_path / "langgraph.json"
    path.write_bytes(content.encode("utf-8", "surrogatepass"))
    async with make_services() as services:
        with pytest.raises(ConfigurationError, match=why):
            await Graphs.load(path, services)
        with pytest.raises(ConfigurationError, match=r"LANGGRAPH_CONFIG: .* cannot be read"):
            await Graphs.load(tmp_path / "nothing.json", services)


async def test_image_build_keys_are_ignored(make_services: MakeServices, tmp_path: Path) -> None:
    more = {
        "python_version": "3.12",
        "dockerfile_lines": ["RUN true"],
        "dependencies": [".", "pydantic>=2"],
        "auth": None,
    }
    async with make_services() as services:
        assert await said_by(await Graphs.load(project(tmp_path, KINDS["compiled"], **more), services)) == "hello"


@pytest.mark.parametrize(
    ("file", "logged"),
    [
        ({"env": "./nothing.env"}, "env: no file ./nothing.env"),
        (
            {"dependencies": ["no-such-package-at-all"]},
            "alongside this service: 'no-such-package-at-all'",
        ),
        ({"dependencies": ["pydantic<1", "git+https://example.com/a.git"]}, r"'pydantic<1 \(not .*\)' 'git\+https"),
        ({"grahps": {}}, r"there is no key 'grahps' \(is it 'graphs'\?\); it is ignored"),
        ({"node_version": "20", "image_distro": "wolfi"}, "image_distro, node_version are for building an image"),
        (
            {"ui": {"team": "./ui.tsx"}, "ui_config": {"shared": ["d3"]}},
            r"""ui: not built; .*: LANGGRAPH_UI='{"team": "./ui.tsx"}' LANGGRAPH_UI_CONFIG='.*"]}' npx @langchain""",
        ),
        ({"ui": {"team": "./ui.tsx"}, "http": {"disable_ui": True}}, None),
        ({"http": {"logging_headers": {"include": ["x-*"]}}}, "here: http.logging"),
        ({"http": {"configurable_headers": {"include": ["x-*"], "excludes": None}}}, None),
        ({"webhooks": {"url": {"disable_private_ips": True}}}, "effect here: webhooks.url.disable_private_ips"),
        ({"store": {"ttl": {"sweep_interval_minutes": 5}}}, "effect here: store.ttl.sweep_interval_minutes"),
        ({"checkpointer": {"serde": {"pickle_fallback": True}}}, "effect here: checkpointer.serde"),
        ({"http": {"disable_sotre": True}}, "effect here: http.disable_sotre"),
        ({"env": {"TEAM_NUMBER": 5}}, None),
        ({"graphs": {"my team": "./team.py:graph", "team": {"path": "./team.py:graph", "other": 1}}}, None),
    ],
)
async def test_harmless_faults_are_one_line_of_the_log(
    make_services: MakeServices, tmp_path: Path, file: dict[str, Any], logged: str | None
) -> None:
    lines: list[str] = []
    handler = logger.add(lines.append, format="{message}", level="INFO")
    try:
        async with make_services() as services:
            graphs = await Graphs.load(project(tmp_path, KINDS["compiled"], **file), services)
            assert await said_by(graphs) == "hello"
    finally:
        logger.remove(handler)

    assert len([line for line in lines if "langgraph.json" in line]) == (logged is not None), lines
    if logged:
        assert any(re.search(logged, line) for line in lines), lines


async def test_team_modules_and_environment_are_loaded(
    make_services: MakeServices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM_SET", "by the operator")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "team_words.py").write_text(
        "import os\nword = os.environ['TEAM_WORD'] + os.environ['TEAM_SET']"
    )
    (tmp_path / "team.env").write_text("TEAM_WORD=hello \nTEAM_SET=by the team\n")
    source = "from team_words import word\ngraph = saying(word)"
    path = project(tmp_path, source, dependencies=["./src"], env="./team.env")
    async with make_services() as services:
        assert await said_by(await Graphs.load(path, services)) == "helloby the operator"


async def test_team_graph_replaces_a_built_in_graph(make_services: MakeServices, tmp_path: Path) -> None:
    file = {"graphs": {"rag": {"path": "./team.py:graph", "description": "Ours."}}}
    async with make_services() as services:
        graphs = await Graphs.load(project(tmp_path, KINDS["compiled"], **file), services)
        assert graphs.names() == ["agent", "rag"]
        assert graphs.description("rag") == "Ours."
        assert await said_by(graphs, "rag") == "hello"


async def test_example_project_runs(make_services: MakeServices, model: ScriptedModel) -> None:
    async with make_services() as services:
        graphs = await Graphs.load(EXAMPLE, services)
        assert graphs.names() == ["agent", "rag", "echo", "poet", "expenses"]
        saver = InMemorySaver()

        config: Any = {"configurable": {"thread_id": "1"}}
        async with graphs.open("echo", config, checkpointer=saver, store=None) as echo:
            modes: Any = ["custom", "values"]
            pieces: list[Any] = [piece async for piece in echo.astream(asked("one two"), config, stream_mode=modes)]
        assert [piece for mode, piece in pieces if mode == "custom"] == [
            {"place": 0, "word": "one"},
            {"place": 1, "word": "two"},
        ]
        assert pieces[-1][1]["messages"][-1].text == "one two"

        config = {"configurable": {"thread_id": "2", "style": "solemn"}}
        model.does(says("O tea!"))
        async with graphs.open("poet", config, checkpointer=saver, store=None) as poet:
            assert (await poet.ainvoke(asked("tea"), config))["messages"][-1].text == "O tea!"
        assert "in a solemn style" in model.requests[0].body["messages"][0]["content"]

        config = {"configurable": {"thread_id": "3"}}
        async with graphs.open("expenses", config, checkpointer=saver, store=None) as expenses:
            assert (await expenses.ainvoke({"what": "tea", "euros": 3}, config))["status"] == "paid"
            asks = await expenses.ainvoke({"what": "a chair", "euros": 250}, config)
            assert asks["__interrupt__"][0].value == {"question": "Pay 250.00 euros for a chair?", "limit": 100}
            assert (await expenses.ainvoke(Command(resume=False), config))["status"] == "refused"
