"""The cost of a request: downloads for its user count as received bytes."""

from starlette.types import Message, Receive, Send

from project4_agent_api.core.request_costs import RequestCost, serve_metered
from shared.outbound.fetching import PublicWeb
from tests.support.internet import Wires, answer, serving, table_of

_PAGE = b"x" * 100_000


async def test_downloaded_bytes_are_charged() -> None:
    charged: list[RequestCost] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"1234"}

    async def send(message: Message) -> None:
        del message

    async with serving(answer(_PAGE, "text/plain")) as port:
        web = PublicWeb(60, table_of({"docs.example": ["93.184.216.34"]}), Wires({"93.184.216.34": port}, []))

        async def serve(receive: Receive, send: Send) -> None:
            await receive()
            async with web.get("http://docs.example/", accept="*/*") as fetched:
                async for _ in fetched.content:
                    pass
            await send({"type": "http.response.body", "body": b"12"})

        await serve_metered(serve, receive, send, charged.append)

    assert sum(cost.size for cost in charged) == len(_PAGE) + 6
