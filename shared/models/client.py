"""The HTTP client for the model endpoint."""

import asyncio

import httpx2
import openai

from shared.settings import Settings

_CONNECT_SECONDS = 5.0
_MAX_RETRY_AFTER_SECONDS = 2.0  # the client receives longer waits as `Retry-After`, and decides


def create_http_client(settings: Settings) -> httpx2.AsyncClient:
    """Create the HTTP client for the model endpoint: one for the process, closed by the caller."""
    return openai.DefaultAioHttpClient(
        timeout=httpx2.Timeout(settings.llm_timeout_seconds, connect=_CONNECT_SECONDS),
        limits=httpx2.Limits(max_connections=0, max_keepalive_connections=100),  # 0: unlimited; None would mean 100
        event_hooks={"response": [_refuse_long_retries]},
        follow_redirects=False,
    )


async def endpoint_reachable(settings: Settings, http: httpx2.AsyncClient, seconds: float = 1.0) -> bool:
    """Return whether the endpoint answers a request for its models in time, with any status.

    An endpoint that rejects the API key is reachable too.
    """
    key = settings.openai_api_key.get_secret_value()
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        async with asyncio.timeout(seconds):
            await http.get(f"{settings.openai_base_url}/models", headers=headers)
    except Exception:  # noqa: BLE001  any failure means that the endpoint did not answer
        return False
    return True


def retry_after_seconds(response: httpx2.Response) -> int | None:
    """Return the `Retry-After` of a response in seconds, at most one hour; None if it has none."""
    value = response.headers.get("retry-after", "")
    return min(int(value), 3600) if value.isascii() and value.isdigit() else None


async def _refuse_long_retries(response: httpx2.Response) -> None:
    # The openai client would sleep as long as the endpoint asks, up to two minutes, while our caller waits.
    seconds = retry_after_seconds(response)
    if seconds is not None and seconds > _MAX_RETRY_AFTER_SECONDS:
        response.headers["x-should-retry"] = "false"
