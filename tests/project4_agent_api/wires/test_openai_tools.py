"""Tools of OpenAI's clients: the model calls them, the client executes them, and the run continues with the results."""

from typing import Any
from uuid import UUID

import openai
import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI
from langgraph_sdk import get_client
from openai import AsyncOpenAI
from pydantic import SecretStr

from project4_agent_api.wires.openai.ids import RESPONSE, encode_id
from tests.support.agent_service import AgentService
from tests.support.scripted_model import ScriptedModel, calls, says

pytestmark = pytest.mark.slow
PLACE = '{"place": "Oslo"}'
WEATHER = ("get_weather", PLACE)
TIME = ("current_time", "{}")
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
FLAT: Any = {"type": "function", "name": "get_weather", "description": "The weather.", "parameters": SCHEMA}
TOOL: Any = {"type": "function", "function": {name: value for name, value in FLAT.items() if name != "type"}}


def asked(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def functions(tool_calls: Any) -> list[Any]:  # noqa: ANN401  one of the client's many types
    assert all(call.type == "function" for call in tool_calls)
    return list(tool_calls)


async def test_completion_calls_a_tool_of_the_client(openai_client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.then(calls(WEATHER, TIME), says("It rains."))
    messages = asked("Weather in Oslo?")
    first = await openai_client.chat.completions.create(model="agent", messages=messages, tools=[TOOL])

    assert first.choices[0].finish_reason == "tool_calls"
    message = first.choices[0].message
    [call] = functions(message.tool_calls)  # the other one is a tool of the server
    assert (call.function.name, call.function.arguments.replace(" ", "")) == ("get_weather", PLACE.replace(" ", ""))
    offered = {tool["function"]["name"] for tool in model.requests[0].body["tools"]}
    assert {"get_weather", "calculator"} <= offered

    messages += [message.to_dict(), {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    second = await openai_client.chat.completions.create(model="agent", messages=messages, tools=[TOOL])
    assert second.choices[0].message.content == "It rains."
    assert second.choices[0].finish_reason == "stop"
    assert model.requests[1].body["messages"][-1]["content"] == "rain"


async def test_completion_streams_the_call(openai_client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.then(calls(WEATHER))
    async with openai_client.chat.completions.stream(
        model="agent", messages=asked("Weather in Oslo?"), tools=[TOOL]
    ) as stream:
        completion = await stream.get_final_completion()
    [call] = functions(completion.choices[0].message.tool_calls)
    assert call.function.name == "get_weather"
    assert completion.choices[0].finish_reason == "tool_calls"


async def test_first_call_of_the_model_follows_the_choice(openai_client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.then(calls(TIME), says("It is late."))
    choice: Any = {"type": "function", "function": {"name": "get_weather"}}
    await openai_client.chat.completions.create(
        model="agent", messages=asked("Time?"), tools=[TOOL], tool_choice=choice
    )
    assert [request.body.get("tool_choice") for request in model.requests] == [choice, None]

    model.then(says("Hello."))
    await openai_client.chat.completions.create(
        model="agent", messages=asked("Hello"), tools=[TOOL], tool_choice="none"
    )
    assert TOOL not in model.requests[2].body["tools"]


async def test_response_waits_for_the_results_of_all_calls(openai_client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.then(calls(WEATHER, ("get_weather", '{"place": "Rome"}'), TIME), says("Rain and sun."))
    first = await openai_client.responses.create(model="agent", input="Weather?", tools=[FLAT])

    pending = [item for item in first.output if item.type == "function_call"]
    assert [call.name for call in pending] == ["get_weather", "get_weather"]
    assert [item.name for item in first.output if item.type == "mcp_call"] == ["current_time"]
    assert [tool.name for tool in first.tools if tool.type == "function"] == ["get_weather"]
    stored = await openai_client.responses.retrieve(first.id)
    assert [item.to_dict() for item in stored.output] == [item.to_dict() for item in first.output]

    results: Any = [
        {"type": "function_call_output", "call_id": pending[0].call_id, "output": "rain"},
        {
            "type": "function_call_output",
            "call_id": pending[1].call_id,
            "output": [{"type": "input_text", "text": "sun"}],
        },
    ]
    second = await openai_client.responses.create(
        model="agent", previous_response_id=first.id, input=results, tools=[FLAT]
    )
    assert second.output_text == "Rain and sun."
    assert not [item for item in second.output if item.type == "function_call"]
    sent = [message for message in model.requests[1].body["messages"] if message["role"] == "tool"]
    assert [message["content"] for message in sent][:2] == ["rain", [{"type": "text", "text": "sun"}]]

    again = await openai_client.responses.retrieve(first.id)
    assert [item.to_dict() for item in again.output] == [item.to_dict() for item in first.output]


async def test_conversation_has_calls_and_results(openai_client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.then(calls(WEATHER), says("It rains."))
    conversation = await openai_client.conversations.create()
    tool: Any = FLAT | {"description": None, "parameters": None, "strict": None}  # as OpenAI's types have them
    first = await openai_client.responses.create(
        model="agent", input="Weather?", tools=[tool], conversation=conversation.id
    )
    assert {"type": "function", "function": {"name": "get_weather"}} in model.requests[0].body["tools"]
    call = first.output[-1]
    assert call.type == "function_call"
    result: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "rain"}
    await openai_client.responses.create(model="agent", input=[result], tools=[FLAT], conversation=conversation.id)

    items: Any = [item async for item in openai_client.conversations.items.list(conversation.id, order="asc")]
    assert [item.type for item in items] == ["message", "function_call", "function_call_output", "message"]
    assert (items[2].call_id, items[2].output) == (items[1].call_id, "rain")


async def test_client_of_langgraph_gives_the_result(
    openai_client: AsyncOpenAI, service: AgentService, headers: dict[str, str], model: ScriptedModel
) -> None:
    model.then(calls(WEATHER), says("It rains."))
    conversation = await openai_client.conversations.create()
    await openai_client.responses.create(model="agent", input="Weather?", tools=[FLAT], conversation=conversation.id)

    thread_id = str(UUID(conversation.id.removeprefix("conv_")))
    async with get_client(url=service.url, headers=headers) as client:
        [question] = (await client.threads.get_state(thread_id))["interrupts"]
        call = question["value"]["tool_call"]
        state: Any = await client.runs.wait(thread_id, "agent", command={"resume": {call["id"]: "rain"}})

    assert (call["name"], call["args"]) == ("get_weather", {"place": "Oslo"})
    assert [message["content"] for message in state["messages"][-2:]] == ["rain", "It rains."]


async def test_response_streams_the_call(openai_client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.then(calls(WEATHER))
    async with openai_client.responses.stream(model="agent", input="Weather?", tools=[FLAT]) as stream:
        events = [event async for event in stream]
        response = await stream.get_final_response()
    assert response.output[-1].type == "function_call"
    (delta,) = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
    assert delta == response.output[-1].arguments


async def test_history_has_calls_and_results(openai_client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.then(says("It rains."))
    history: Any = [
        *asked("Weather in Oslo?"),
        {"type": "function_call", "call_id": "call_1", "name": "get_weather", "arguments": PLACE},
        {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
    ]
    response = await openai_client.responses.create(model="agent", input=history, tools=[FLAT], store=False)
    assert response.output_text == "It rains."
    roles = [message["role"] for message in model.requests[0].body["messages"]]
    assert roles == ["system", "user", "assistant", "tool"]


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"model": "rag"}, "tools"),
        ({"tools": [TOOL, TOOL]}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "not a name"}}]}, "tools.0.function.name"),
        ({"tools": [{"type": "custom", "custom": {"name": "shell"}}]}, "tools.0.type"),
        ({"tools": [TOOL | {"cache": True}]}, "tools.0.cache"),
        ({"tool_choice": {"type": "function", "function": {"name": "another"}}}, "tool_choice"),
        ({"tools": [], "tool_choice": "required"}, "tool_choice"),
    ],
)
async def test_tool_that_cannot_be_called_is_refused(
    openai_client: AsyncOpenAI, parameters: dict[str, Any], param: str
) -> None:
    request = {"model": "agent", "messages": asked("Hello"), "tools": [TOOL]} | parameters
    with pytest.raises(openai.BadRequestError) as caught:
        await openai_client.chat.completions.create(**request)
    assert caught.value.param == param


async def test_name_of_a_tool_of_the_assistant_is_refused(openai_client: AsyncOpenAI) -> None:
    tool: Any = {"type": "function", "function": {"name": "calculator"}}
    with pytest.raises(openai.BadRequestError, match="calculator"):
        await openai_client.chat.completions.create(model="agent", messages=asked("Hello"), tools=[tool])


async def test_langchain_calls_a_bound_tool(
    service: AgentService, headers: dict[str, str], model: ScriptedModel
) -> None:
    model.then(calls(WEATHER), says("It rains."))
    key = SecretStr(headers["Authorization"].removeprefix("Bearer "))
    chat = ChatOpenAI(model="agent", base_url=f"{service.url}/v1", api_key=key, max_retries=0).bind_tools([TOOL])

    question = HumanMessage("Weather in Oslo?")
    asking = await chat.ainvoke([question])
    assert isinstance(asking, AIMessage)
    (call,) = asking.tool_calls
    assert call["args"] == {"place": "Oslo"}
    answer = await chat.ainvoke([question, asking, ToolMessage("rain", tool_call_id=call["id"])])
    assert answer.text == "It rains."


@pytest.mark.parametrize("tools", ["get_weather", 5, None, [1], [{"type": "function", "function": [1]}]])
async def test_response_of_a_run_with_another_context_has_no_tools(
    service: AgentService,
    headers: dict[str, str],
    openai_client: AsyncOpenAI,
    tools: Any,  # noqa: ANN401  any JSON
) -> None:
    message = {"messages": asked("Hello")}
    async with get_client(url=service.url, headers=headers) as client:
        thread = await client.threads.create()
        run = await client.runs.create(thread["thread_id"], "agent", input=message, context={"client_tools": tools})
        await client.runs.join(thread["thread_id"], run["run_id"])

    response = await openai_client.responses.retrieve(encode_id(RESPONSE, UUID(run["run_id"])))
    assert (response.status, response.tools) == ("failed", [])
    assert response.error
    assert "client_tools" in response.error.message
