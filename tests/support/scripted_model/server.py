"""The server: it reads requests, checks them by a profile, and answers as a test has scripted."""

import asyncio
import json
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from tests.support.scripted_model.behaviours import embeds, fails, hangs, resets_after, says
from tests.support.scripted_model.connection import Behaviour, Connection, Seen
from tests.support.scripted_model.profile import Profile
from tests.support.scripted_model.profiles import STRICTEST
from tests.support.scripted_model.strictness import Violation

T = TypeVar("T")


class ScriptedModel:
    """The server. `says`, `fails`, … set how it answers from then on; `then` sets different answers in turn.

    Attributes:
        profile: The endpoint whose rules each chat request is checked by; None takes everything.
        violations: The broken rules, by which the fixture `model` fails a test that has not emptied the list.
    """

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.requests: list[Seen] = []
        self.embedded: list[Seen] = []  # those for embeddings, which are counted apart
        self.profile: Profile | None = STRICTEST
        self.violations: list[Violation] = []
        self.busiest = 0  # the most requests that were being answered at one time
        self._answering = 0
        self._behaviour: Behaviour = says("Hello!")
        self._embedding: Behaviour = embeds()
        self._queue: list[Behaviour] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._call(asyncio.start_server(self._serve, host, port))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}/v1"

    def reset(self) -> None:
        self.requests, self.embedded, self.busiest, self._queue = [], [], 0, []
        self.profile, self.violations = STRICTEST, []
        self.does(says("Hello!"))
        self.embeds(embeds())

    def does(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    def embeds(self, behaviour: Behaviour) -> None:
        """Answer requests for embeddings so from now on."""
        self._embedding = behaviour

    def then(self, *behaviours: Behaviour) -> None:
        """Answer the next requests so, one after another; after them as before."""
        self._queue = list(behaviours)

    def says(self, text: str, tokens_per_second: float | None = None, **options: Any) -> None:
        self.does(says(text, tokens_per_second, **options))

    def fails(self, status: int = 500, **options: Any) -> None:
        self.does(fails(status, **options))

    def resets_after(self, tokens: int) -> None:
        self.does(resets_after(tokens))

    def hangs(self, after: int = 0) -> None:
        self.does(hangs(after))

    def close(self) -> None:
        self._call(self._shut())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _shut(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._serve_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        connection = Connection(Seen(head[0].split(" ")[1], headers, json.loads(body or b"{}")), writer)
        if connection.seen.path.endswith("/models"):
            await connection.respond(200, b'{"object":"list","data":[]}', "application/json")
            return True
        if connection.seen.path.endswith("/embeddings"):
            self.embedded.append(connection.seen)
            return await self._answer(self._embedding, connection, reader)
        self.requests.append(connection.seen)
        if self.profile and (broken := list(self.profile.check(connection.seen.body))):
            connection.seen.violations = broken
            self.violations += broken
            return await self._answer(self.profile.refuses(broken[0]), connection, reader)
        behaviour = self._queue.pop(0) if self._queue else self._behaviour
        return await self._answer(behaviour, connection, reader)

    async def _answer(self, behaviour: Behaviour, connection: Connection, reader: asyncio.StreamReader) -> bool:
        self._answering += 1
        self.busiest = max(self.busiest, self._answering)
        answer = asyncio.ensure_future(behaviour(connection))
        hang_up = asyncio.ensure_future(reader.read(1))  # clients here do not pipeline, so this ends at a hang-up only
        try:
            await asyncio.wait([answer, hang_up], return_when=asyncio.FIRST_COMPLETED)
            connection.seen.cancelled = not answer.done()
            return answer.done() and not connection.writer.is_closing() and not hang_up.done()
        finally:
            for task in (answer, hang_up):
                task.cancel()
            await asyncio.gather(answer, hang_up, return_exceptions=True)
            self._answering -= 1
            connection.seen.finished.set()
