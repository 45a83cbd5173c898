"""Fetch a web page that the user or another page names."""

from typing import Annotated

from langchain_core.tools import BaseTool, ToolException, tool
from pydantic import Field

from project4_agent_api.agents.web.pages import WebPages
from shared.outbound.fetching import FetchError

NAME = "fetch_web_page"


def fetch_web_page_tool(web: WebPages) -> BaseTool:
    """Create the tool."""

    @tool(NAME, parse_docstring=True)
    async def fetch_web_page(url: Annotated[str, Field(max_length=2000)]) -> str:
        """Fetch a web page from the internet by its URL and return its text.

        Args:
            url: The page's address, beginning with https:// or http://.
        """
        try:
            page = await web.fetch(url)
        except FetchError as error:
            raise ToolException(str(error)) from None
        text = page.text or "(The page has no text.)"
        return f"{page.url}\n\n{text}" if page.complete else f"{page.url} (the beginning only)\n\n{text}"

    return fetch_web_page
