"""The four stages as processes, in front of llama.cpp's own server with a model that can call tools.

`make test-model` runs these tests; they are not part of `make test`, which downloads no model. A model's words differ
from version to version, so the tests assert what the services do with them: status, form, executed tools, language.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import xllamacpp

from local.model_server.e5_gguf import e5_gguf
from local.model_server.embeddings import MODEL as EMBEDDING_MODEL
from local.model_server.embeddings import embedding_params
from local.model_server.language_models import QWEN, WEIGHTS, install
from tests.real_model.llama import MODEL, ROOT, fenced_template, llama_server, thinking_template
from tests.support.processes import served

_TIMEOUT = 900  # seconds for a test: on a busy machine the model writes only some tokens a second
_CHINESE = re.compile(r"[\u4e00-\u9fff]")

Serve = Callable[..., AbstractContextManager[str]]


def pytest_configure(config: pytest.Config) -> None:
    """Install the model before the tests' timeouts start."""
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        install(MODEL, print, ROOT / WEIGHTS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(pytest.mark.timeout(_TIMEOUT))


@pytest.fixture(scope="session")
def llama() -> Iterator[str]:
    """The base URL of a server that finds the model's tool calls."""
    with llama_server(fenced_template()) as base_url:
        yield base_url


@pytest.fixture(scope="session")
def thinking_llama() -> Iterator[str]:
    """The base URL of a server whose model thinks first, if a request has the grammar for it."""
    with llama_server(thinking_template()) as base_url:
        yield base_url


@pytest.fixture(scope="session")
def small_llama() -> Iterator[str]:
    """The base URL of a server with a context of 512 tokens."""
    with llama_server(fenced_template(), context=512) as base_url:
        yield base_url


@pytest.fixture(scope="session")
def embedding_server() -> xllamacpp.Server:
    """llama.cpp's server with an embedding model that reads 512 tokens."""
    return xllamacpp.Server(embedding_params(e5_gguf(ROOT / WEIGHTS)))


@pytest.fixture
def environment(llama: str) -> dict[str, str]:
    """The variables of a stage 1."""
    return {
        "APP_ENV": "test",
        "OPENAI_BASE_URL": llama,
        "LLM_MODEL": QWEN,
        "LLM_MAX_RETRIES": "0",
        "LLM_TIMEOUT_SECONDS": "300",
    }


@pytest.fixture
def serve1(environment: dict[str, str]) -> Serve:
    """Serves stage 1 with changed variables while a block runs; gives its URL."""

    @contextmanager
    def serve(**changes: str) -> Iterator[str]:
        changed = {name.upper(): value for name, value in changes.items()}
        with served("project1_qa_api", environment | changed) as (url, _):
            yield url

    return serve


@pytest.fixture(scope="session")
def embeddings(embedding_server: xllamacpp.Server) -> dict[str, str]:
    """The variables of the embedding model."""
    return {
        "EMBEDDING_BASE_URL": f"{embedding_server.listening_address}/v1",
        "EMBEDDING_MODEL": EMBEDDING_MODEL,
        "EMBEDDING_DIMENSIONS": "384",
    }


def is_chinese(text: str) -> bool:
    """Return whether most letters of a text are Chinese."""
    letters = [character for character in text if character.isalpha()]
    return len(_CHINESE.findall(text)) * 2 > len(letters) > 0
