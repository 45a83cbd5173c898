from types import ModuleType
from typing import Any

import httpx
import pytest
from langchain_core.tools import BaseTool
from pydantic import ValidationError


@pytest.fixture
def requests() -> list[httpx.Request]:
    return []


@pytest.fixture
def tool(exercise: ModuleType, requests: list[httpx.Request]) -> BaseTool:
    def respond(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        match request.url.params["city"]:
            case "Atlantis":
                return httpx.Response(404)
            case "Slow":
                raise httpx.ReadTimeout("too slow", request=request)
        return httpx.Response(200, text="Sunny, 21 °C")

    client = httpx.Client(base_url="https://weather.example", transport=httpx.MockTransport(respond))
    tool: BaseTool = exercise.build_tool(client)
    return tool


def test_model_sees_name_description_and_schema(tool: BaseTool) -> None:
    assert (tool.name, tool.description) == ("get_forecast", "Get the weather forecast of a city.")
    schema: dict[str, Any] = tool.tool_call_schema.model_json_schema()  # type: ignore[union-attr]  # a tool of a function has a model as its schema
    assert schema.get("required") == ["city"]
    assert all(argument.get("description") for argument in schema["properties"].values())
    days = schema["properties"]["days"]
    assert (days["minimum"], days["maximum"], days["default"]) == (1, 7, 1)


def test_api_is_called_with_the_arguments(tool: BaseTool, requests: list[httpx.Request]) -> None:
    assert tool.invoke({"city": "New York", "days": 3}) == "Sunny, 21 °C"
    assert dict(requests[0].url.params) == {"city": "New York", "days": "3"}


@pytest.mark.parametrize("arguments", [{"city": ""}, {"city": "Rome", "days": 8}, {"days": 1}])
def test_invalid_arguments_never_reach_the_api(
    tool: BaseTool, requests: list[httpx.Request], arguments: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        tool.invoke(arguments)
    assert not requests


@pytest.mark.parametrize("city", ["Atlantis", "Slow"])
def test_failure_is_a_result_that_the_model_can_read(tool: BaseTool, city: str) -> None:
    assert str(tool.invoke({"city": city})).startswith("The forecast is unavailable: ")
