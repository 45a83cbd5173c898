"""A2A's client for Python: send a message to an assistant, and print its answer as it is written."""

import asyncio
import os

import httpx
from a2a.client import ClientConfig, create_client
from a2a.types.a2a_pb2 import Message, Part, Role, SendMessageRequest


async def main() -> None:
    """Ask one question."""
    key = {"Authorization": f"Bearer {os.environ['AGENT_API_KEY']}"}
    async with httpx.AsyncClient(headers=key, timeout=300) as http:
        client = await create_client(f"{os.environ['AGENT_API_URL']}/a2a/agent", ClientConfig(httpx_client=http))
        message = Message(message_id="1", role=Role.ROLE_USER, parts=[Part(text="Hi, I am Ada.")])
        async for event in client.send_message(SendMessageRequest(message=message)):
            for part in event.artifact_update.artifact.parts:
                print(part.text, end="", flush=True)
        print()


asyncio.run(main())
