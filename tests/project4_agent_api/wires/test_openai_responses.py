"""OpenAI's responses with the official client: threads behind them, tool calls, approvals, and stored responses."""

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.support.agent_service import AgentService
from tests.support.scripted_model import ScriptedModel, calls, chunk, hangs, says, streams
from tests.support.until import until

pytestmark = pytest.mark.slow
SUM = ("calculator", '{"expression": "6 * 7"}')
TIME = ("current_time", "{}")


async def test_response_has_the_tool_calls_of_the_server(openai_client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.then(calls(TIME), says("It is late."))
    response = await openai_client.responses.create(model="agent", input="Time?")

    assert (response.status, response.output_text) == ("completed", "It is late.")
    call: Any = response.output[0]
    assert (call.type, call.name, call.status) == ("mcp_call", "current_time", "completed")
    assert "UTC" in call.output
    stored = await openai_client.responses.retrieve(response.id)
    assert stored.model_dump() == response.model_dump()


async def test_stream_grows_into_the_response(openai_client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.then(calls(TIME), says("It is late."))
    async with openai_client.responses.stream(model="agent", input="Time?") as stream:
        events = [event async for event in stream]
        response = await stream.get_final_response()

    assert response.output_text == "It is late."
    text = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(text) == "It is late."
    assert response.usage
    replayed = await openai_client.responses.retrieve(response.id, stream=True, starting_after=2)
    numbers = [event.sequence_number async for event in replayed]
    assert numbers == list(range(3, numbers[-1] + 1))


async def test_previous_response_is_continued_and_forked(openai_client: AsyncOpenAI) -> None:
    first = await openai_client.responses.create(model="talk", input="one")
    second = await openai_client.responses.create(model="talk", input="two", previous_response_id=first.id)
    other = await openai_client.responses.create(model="talk", input="other", previous_response_id=first.id)

    assert [each.output_text for each in (first, second, other)] == ["1: one", "3: two", "3: other"]
    assert (await openai_client.responses.retrieve(second.id)).output_text == "3: two"


async def test_approval_is_asked_for_and_resumes_the_run(openai_client: AsyncOpenAI, model: ScriptedModel) -> None:
    model.then(calls(SUM), says("It is 42."))
    asked = await openai_client.responses.create(model="agent", input="Six times seven?")
    request: Any = asked.output[-1]
    assert (request.type, request.name) == ("mcp_approval_request", "calculator")
    answer: Any = {"type": "mcp_approval_response", "approval_request_id": request.id, "approve": True}
    response = await openai_client.responses.create(model="agent", input=[answer], previous_response_id=asked.id)

    assert response.output_text == "It is 42."
    call: Any = response.output[0]
    assert (call.type, call.name, call.output) == ("mcp_call", "calculator", "42")
    with pytest.raises(openai.BadRequestError, match="no question with the id"):
        await openai_client.responses.create(model="agent", input=[answer], previous_response_id=asked.id)


async def test_question_is_answered_as_a_function(openai_client: AsyncOpenAI) -> None:
    conversation = await openai_client.conversations.create(metadata={"topic": "questions"})
    asked = await openai_client.responses.create(model="ask", input="Your name?", conversation=conversation.id)
    call: Any = asked.output[-1]
    assert (call.type, call.arguments) == ("function_call", '{"question":"Your name?"}')
    answer: Any = {"type": "function_call_output", "call_id": call.call_id, "output": "Ada"}
    response = await openai_client.responses.create(model="ask", input=[answer], conversation=conversation.id)

    assert response.output_text == "You said Ada."
    items: Any = (await openai_client.conversations.items.list(conversation.id, order="asc")).data
    assert [(item.role, item.content[0].text) for item in items] == [
        ("user", "Your name?"),
        ("assistant", "You said Ada."),
    ]


async def test_background_response_is_polled_and_cancelled(
    openai_client: AsyncOpenAI, service: AgentService, model: ScriptedModel
) -> None:
    model.does(hangs())
    response = await openai_client.responses.create(model="agent", input="Hi", background=True)
    assert response.status == "queued"
    polling = OpenAI(base_url=f"{service.url}/v1", api_key=openai_client.api_key, max_retries=0)

    await until(lambda: polling.responses.retrieve(response.id).status == "in_progress")
    assert (await openai_client.responses.cancel(response.id)).status == "cancelled"
    await until(lambda: polling.responses.retrieve(response.id).status == "cancelled")
    await openai_client.responses.delete(response.id)
    with pytest.raises(openai.NotFoundError):
        await openai_client.responses.retrieve(response.id)


async def test_response_that_is_not_stored_leaves_nothing(openai_client: AsyncOpenAI) -> None:
    response = await openai_client.responses.create(model="talk", input="one", store=False)
    assert response.output_text == "1: one"
    with pytest.raises(openai.NotFoundError):
        await openai_client.responses.retrieve(response.id)


async def test_run_is_stopped_when_its_client_leaves(
    openai_client: AsyncOpenAI, service: AgentService, model: ScriptedModel
) -> None:
    model.does(hangs())
    stream = await openai_client.responses.create(model="agent", input="Hi", stream=True)
    created: Any = await anext(aiter(stream))
    await stream.close()
    polling = OpenAI(base_url=f"{service.url}/v1", api_key=openai_client.api_key, max_retries=0)

    await until(lambda: polling.responses.retrieve(created.response.id).status == "cancelled")


async def test_text_of_a_reasoning_model_is_apart(openai_client: AsyncOpenAI, model: ScriptedModel) -> None:
    delta = {"reasoning_content": "They greet.", "role": "assistant"}
    model.then(streams(chunk(delta), chunk({"content": "Hi."}), chunk({}, "stop"), b"[DONE]"))
    response = await openai_client.responses.create(model="agent", input="Hi")

    reasoning: Any = response.output[0]
    assert (reasoning.type, reasoning.summary[0].text) == ("reasoning", "They greet.")
    assert response.output_text == "Hi."


async def test_input_items_are_listed(openai_client: AsyncOpenAI) -> None:
    response = await openai_client.responses.create(model="talk", input="one", instructions="Be brief.")
    items: Any = (await openai_client.responses.input_items.list(response.id, order="asc")).data
    assert [(item.role, item.content[0].text) for item in items] == [("system", "Be brief."), ("user", "one")]
