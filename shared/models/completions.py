"""Chat completions without the openai client's response models."""

from typing import Any, ClassVar, cast

import openai


class UntypedCompletions:
    """A replacement for `client.chat.completions` that returns the endpoint's JSON unparsed.

    The openai client builds a Pydantic model of each response and chunk, which LangChain converts back to
    dictionaries: a third of the time of a call. Retries, headers and errors remain the client's.
    """

    _OPTIONS: ClassVar = {
        "extra_headers": "headers",
        "extra_query": "params",
        "extra_body": "extra_json",
        "timeout": "timeout",
    }

    def __init__(self, client: openai.AsyncOpenAI) -> None:
        self._client = client

    async def create(self, *, stream: bool = False, **payload: Any) -> Any:  # noqa: ANN401  JSON
        """Create a completion.

        Args:
            stream: Whether to stream the response.
            payload: Fields of the request, and the client's own options (`extra_body`, `timeout`, …).

        Returns:
            The response; or an asynchronous iterator of chunks that is also a context manager.
        """
        options = {option: payload.pop(name) for name, option in self._OPTIONS.items() if name in payload}
        return await self._client.post(
            "/chat/completions",
            cast_to=object,
            body=payload | {"stream": stream},
            options=cast("Any", options),
            stream=stream,
            stream_cls=openai.AsyncStream[object],
        )
