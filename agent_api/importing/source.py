"""The server that is imported from, over LangGraph's API."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from shared.errors import ConfigurationError

Json = dict[str, Any]
_PAGE = 100
_STATES = 1000  # LangGraph's own server returns no more at once
_PAUSES = (0.5, 2, 5, 15)  # seconds between the attempts of a request


class SourceError(ConfigurationError):
    """The server refuses a request, or cannot be reached."""


class Source:
    """A server of LangGraph's API."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self._http = http

    async def assistants(self) -> AsyncIterator[Json]:
        """Yield the assistants that users have created."""
        async for assistant in self._search("/assistants/search"):
            if (assistant.get("metadata") or {}).get("created_by") != "system":
                yield assistant

    async def versions(self, assistant_id: str) -> list[Json]:
        """Return the versions of an assistant, the oldest first."""
        versions = [version async for version in self._search(f"/assistants/{assistant_id}/versions")]
        return sorted(versions, key=lambda version: int(version["version"]))

    async def threads(self) -> AsyncIterator[Json]:
        """Yield the threads, the oldest first."""
        async for thread in self._search("/threads/search", sort_by="created_at", sort_order="asc"):
            yield thread

    async def inner_histories(self, thread_id: str, states: list[Json]) -> dict[str, list[Json]]:
        """Return the states inside the subgraphs of a thread's states, by namespace, each the oldest first."""
        found: dict[str, list[Json]] = {}
        for state in states:
            for task in state["tasks"]:
                namespace = (task.get("checkpoint") or {}).get("checkpoint_ns")
                if namespace and namespace not in found:
                    found[namespace] = await self.history(thread_id, namespace)
                    found |= await self.inner_histories(thread_id, found[namespace])
        return {namespace: inside for namespace, inside in found.items() if inside}

    async def history(self, thread_id: str, namespace: str = "") -> list[Json]:
        """Return the states of a thread, or those in a namespace of a subgraph, the oldest first."""
        states: list[Json] = []
        while True:
            body: Json = {"limit": _STATES}
            if namespace:
                body["checkpoint"] = {"checkpoint_ns": namespace}
            if states:
                body["before"] = states[-1]["checkpoint"]["checkpoint_id"]
            page = await self._post(f"/threads/{thread_id}/history", body)
            states += page
            if len(page) < _STATES:
                return states[::-1]

    async def items(self) -> AsyncIterator[Json]:
        """Yield the items of the store."""
        offset = 0
        while page := (await self._post("/store/items/search", _page(offset, namespace_prefix=[])))["items"]:
            for item in page:
                yield item
            offset += len(page)

    async def crons(self) -> AsyncIterator[Json]:
        """Yield the crons."""
        async for cron in self._search("/runs/crons/search"):
            yield cron

    async def _search(self, path: str, **body: str) -> AsyncIterator[Json]:
        offset = 0
        while page := await self._post(path, _page(offset, **body)):
            for found in page:
                yield found
            offset += len(page)
            if len(page) < _PAGE:
                return

    async def _post(self, path: str, body: Json) -> Any:  # noqa: ANN401  any JSON
        problem = ""
        for pause in (*_PAUSES, None):
            try:
                response = await self._http.post(path, json=body)
            except httpx2.TransportError as error:
                problem = f"cannot be reached ({type(error).__name__})"
            else:
                if response.is_success:
                    return self._json(response, path)
                if response.status_code == 404 and path.endswith("/versions"):
                    return []
                problem = f"responded with status {response.status_code} to {path}"
                if response.status_code < 500 and response.status_code != 429:
                    break
            if pause is not None:
                await asyncio.sleep(pause)
        raise SourceError(f"the server {problem}")

    @staticmethod
    def _json(response: httpx2.Response, path: str) -> Any:  # noqa: ANN401  any JSON
        try:
            return response.json()
        except ValueError:
            raise SourceError(f"the server responded without JSON to {path}: is it one of LangGraph's API?") from None


def _page(offset: int, **body: Any) -> Json:
    return {"limit": _PAGE, "offset": offset, **body}
