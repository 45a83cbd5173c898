"""The HTTP client for the model endpoint."""

import asyncio

import httpx2
import openai

from shared.models.refusals import classify, response_body
from shared.settings import Settings

_CONNECT_SECONDS = 5.0
_MAX_RETRY_AFTER_SECONDS = 2.0  # the client receives longer waits as `Retry-After`, and decides


def create_http_client(settings: Settings) -> httpx2.AsyncClient:
    """Create the HTTP client for the model endpoint: one for the process, closed by the caller."""
    return openai.DefaultAioHttpClient(
        timeout=httpx2.Timeout(settings.llm_timeout_seconds, connect=_CONNECT_SECONDS),
        limits=httpx2.Limits(max_connections=0, max_keepalive_connections=100),  # 0: unlimited; None would mean 100
        event_hooks={"response": [_refuse_useless_retries]},
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


async def _refuse_useless_retries(response: httpx2.Response) -> None:
    """Keep the openai client from repeating a call if waiting does not help, or helps too late.

    It would repeat any 429 and 5xx, also an exhausted quota or a prompt that is too long, and sleep as long as the
    endpoint asks, up to two minutes, while our caller waits.
    """
    if response.status_code < 400:
        return
    await response.aread()
    refusal = classify(response.status_code, response_body(response), headers=response.headers)
    if not refusal.kind.waiting_helps or (refusal.retry_after or 0) > _MAX_RETRY_AFTER_SECONDS:
        response.headers["x-should-retry"] = "false"
