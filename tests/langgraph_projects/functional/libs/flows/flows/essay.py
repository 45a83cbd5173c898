import os

from langgraph.func import entrypoint, task


@task
async def write(topic: str) -> str:
    return f"{os.environ['TITLE']} {os.environ['NUMBER']}: {topic}"


@entrypoint()
async def workflow(topic: str) -> dict:
    return {"essay": await write(topic)}
