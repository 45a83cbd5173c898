import os


async def weather(city: str) -> str:
    """Return the weather of a city."""
    return f"{city}: {os.environ['GREETING_OF_THE_TOOL']}"


TOOLS = [weather]
