"""Make a tool of an HTTP API: the model reads its name, description and schema."""

import httpx
from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, Field


class Forecast(BaseModel):
    """Arguments of the tool."""

    # TODO: `city`, not empty, with a description for the model
    #       city：不能为空，附上给模型看的说明
    # TODO: `days`, from 1 to 7, default 1, with a description for the model
    #       days：1 到 7，默认 1，附上给模型看的说明


def build_tool(client: httpx.Client) -> BaseTool:
    """Return the tool `get_forecast`, which calls `GET /forecast?city=…&days=…`."""

    def get_forecast(city: str, days: int = 1) -> str:
        """Get the weather forecast of a city."""
        # TODO: return the response's text; on any httpx.HTTPError return "The forecast is unavailable: …"
        #       返回响应正文；遇到任何 httpx.HTTPError 都返回 "The forecast is unavailable: …"
        return ""

    # TODO: the model must see the schema of Forecast
    #       要让模型看到 Forecast 的 schema
    return StructuredTool.from_function(get_forecast)
