"""Make a tool of an HTTP API: the model reads its name, description and schema."""

import httpx
from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, Field


class Forecast(BaseModel):
    """Arguments of the tool."""

    city: str = Field(min_length=1, description="Name of the city, in English")
    days: int = Field(default=1, ge=1, le=7, description="Number of days, beginning today")


def build_tool(client: httpx.Client) -> BaseTool:
    """Return the tool `get_forecast`, which calls `GET /forecast?city=…&days=…`."""

    def get_forecast(city: str, days: int = 1) -> str:
        """Get the weather forecast of a city."""
        try:
            response = client.get("/forecast", params={"city": city, "days": days})
            response.raise_for_status()
        except httpx.HTTPError as error:
            return f"The forecast is unavailable: {type(error).__name__}"
        return response.text

    return StructuredTool.from_function(get_forecast, args_schema=Forecast)
