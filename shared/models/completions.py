"""Chat completions without the openai client's response models."""

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, ClassVar, cast

import openai

from shared.models.parameters import ParameterAdapter
from shared.models.refusals import error_in, is_error


class UntypedCompletions:
    """A replacement for `client.chat.completions` that returns the endpoint's JSON unparsed.

    The openai client builds a Pydantic model of each response and chunk, which LangChain converts back to
    dictionaries: a third of the time of a call. Retries, headers and errors remain the client's. An error in a
    successful response or in a stream is raised as an `openai.APIError`, and parameters that the endpoint refuses are
    left out.

    Args:
        extra: Fields of every request; None removes one.
        by_model: Further fields of the requests to a model.
    """

    _OPTIONS: ClassVar = {
        "extra_headers": "headers",
        "extra_query": "params",
        "extra_body": "extra_json",
        "timeout": "timeout",
    }

    def __init__(
        self,
        client: openai.AsyncOpenAI,
        extra: Mapping[str, Any] | None = None,
        by_model: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self._client = client
        self._adapter = ParameterAdapter(extra or {}, by_model)

    async def create(self, *, stream: bool = False, **payload: Any) -> Any:  # noqa: ANN401  JSON
        """Create a completion, in the form that the endpoint chooses: some ignore `stream`.

        Args:
            stream: Whether to stream the response.
            payload: Fields of the request, and the client's own options (`extra_body`, `timeout`, …).

        Returns:
            The chunks of the response; as an asynchronous iterator that is also a context manager for a stream. One
            chunk is the whole response where the endpoint sent that.

        Raises:
            openai.APIError: with the classified `refusal`.
        """
        options = {option: payload.pop(name) for name, option in self._OPTIONS.items() if name in payload}

        async def send(body: dict[str, Any]) -> Any:  # noqa: ANN401  JSON
            result = await self._client.post(
                "/chat/completions",
                cast_to=object,
                body=body,
                options=cast("Any", options),
                stream=stream,
                stream_cls=Chunks,
            )
            if isinstance(result, Chunks):
                await result.peek()
                return result
            chunks = _events(result) if isinstance(result, str) else [result]
            if error := next(filter(is_error, chunks), None):
                raise error_in(error, self._client)
            return chunks

        return await self._adapter.call(payload | {"stream": stream}, send)


class Chunks(openai.AsyncStream[object]):
    """The chunks of a streamed completion: an asynchronous iterator, and a context manager that closes the response.

    An error among them is raised as an `openai.APIError`, in any form and not only OpenAI's.
    """

    _first: tuple[object, ...] = ()

    @property
    def _is_json(self) -> bool:
        return str(self.response.headers.get("content-type", "")).startswith("application/json")

    async def peek(self) -> None:
        """Wait for the first chunk, so that an error in its place is raised before the stream is returned.

        It is the whole response if the endpoint does not stream.
        """
        try:
            self._first = (await self._whole() if self._is_json else await anext(self),)
        except StopAsyncIteration:
            pass
        except BaseException:
            await self.close()
            raise

    async def _whole(self) -> object:
        if is_error(body := json.loads(await self.response.aread())):
            raise openai.APIError("an error instead of a stream", self.response.request, body=body)
        return body

    def __aiter__(self) -> AsyncIterator[object]:
        """Return the iterator itself."""
        return self

    async def __anext__(self) -> object:
        """Return the next chunk.

        Raises:
            openai.APIError: if it is an error.
        """
        if self._first:
            (first,), self._first = self._first, ()
            return first
        if is_error(chunk := await super().__anext__()):
            raise openai.APIError("an error in a stream", self.response.request, body=chunk)
        return chunk

    async def _iter_events(self) -> AsyncIterator[Any]:
        if self._is_json:
            return
        async for event in super()._iter_events():
            if event.event == "error":
                raise openai.APIError("an error event", self.response.request, body=_parsed(event.data))
            yield event


def _events(text: str) -> list[Any]:
    """Return the data of a stream of events that was read as text."""
    lines = [line.removeprefix("data:").strip() for line in text.split("\n") if line.startswith("data:")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


def _parsed(data: str) -> object:
    try:
        return json.loads(data)
    except ValueError:
        return data
