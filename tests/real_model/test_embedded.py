"""The embedded model server with the real model alone, without the rules."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from langgraph_sdk import get_client

from local.model_server.app import create_app
from local.model_server.language_models import WEIGHTS, LanguageModel, weights_of
from tests.real_model.agent import SUM, SUM_RESULT, agent_service, run, tool_results
from tests.real_model.conftest import is_chinese
from tests.real_model.llama import MODEL, ROOT
from tests.support.databases import Databases
from tests.support.running import running

NAME = "qwen-without-rules"
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    app = create_app(LanguageModel(NAME), weights_of(MODEL, {}, ROOT / WEIGHTS), ROOT / WEIGHTS)
    with running(app) as url:
        yield f"{url}/v1"


@pytest.fixture
async def api(base_url: str) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=base_url, api_key="none", max_retries=0, timeout=600) as client:
        yield client


@pytest.mark.parametrize(
    ("question", "city"), [("What is the weather in Paris?", "Paris"), ("北京今天天气怎么样？", "北京")]
)
async def test_written_call_is_a_tool_call(api: openai.AsyncOpenAI, question: str, city: str) -> None:
    messages: Any = [{"role": "user", "content": question}]
    whole = await api.chat.completions.create(model=NAME, messages=messages, tools=[WEATHER], temperature=0)
    stream = await api.chat.completions.create(
        model=NAME, messages=messages, tools=[WEATHER], temperature=0, stream=True
    )
    chunks = [chunk.choices[0] async for chunk in stream if chunk.choices]

    (call,) = whole.choices[0].message.tool_calls or []
    (streamed,) = [call for chunk in chunks for call in chunk.delta.tool_calls or []]
    assert whole.choices[0].finish_reason == chunks[-1].finish_reason == "tool_calls"
    assert call.type == "function"
    for function in (call.function, streamed.function):
        assert function
        assert (function.name, json.loads(str(function.arguments))) == ("get_weather", {"city": city})
    assert not whole.choices[0].message.content
    assert not "".join(chunk.delta.content or "" for chunk in chunks)


async def test_text_remains_text_beside_tools(api: openai.AsyncOpenAI) -> None:
    message: Any = {"role": "user", "content": "你好！你是谁？"}
    answer = await api.chat.completions.create(model=NAME, messages=[message], tools=[WEATHER], max_tokens=60)

    assert not answer.choices[0].message.tool_calls
    assert is_chinese(str(answer.choices[0].message.content))


async def test_agent_executes_written_calls(
    base_url: str, embeddings: dict[str, str], databases: Databases, redis_url: str, tmp_path: Path
) -> None:
    with databases.migrated("project4_agent_api") as database_url:
        variables = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "OPENAI_BASE_URL": base_url,
            "LLM_MODEL": NAME,
            **embeddings,
        }
        with agent_service(variables, tmp_path) as service:
            async with get_client(url=service.url, api_key=None, headers=service.sign_up(), timeout=600) as client:
                thread_id = (await client.threads.create())["thread_id"]
                messages = await run(client, thread_id, SUM)

    assert SUM_RESULT in tool_results(messages)
