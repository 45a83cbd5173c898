"""Signatures of webhooks, verified with the official library of Standard Webhooks."""

from collections.abc import Iterator
from typing import Any

import httpx2
import psycopg
import pytest
from langgraph_sdk import get_client
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.project4_agent_api.conftest import SignUp
from tests.support.agent_runs import GRAPHS, said
from tests.support.agent_service import AgentService, agent_service
from tests.support.receiver import Receiver, receiving
from tests.support.scripted_model import ScriptedModel

PATH = "/auth/me/webhook-secret"


@pytest.fixture
def service(database_url: str, redis_url: str, model: ScriptedModel) -> Iterator[AgentService]:
    with agent_service(database_url, redis_url, model, GRAPHS, webhook_allow_private="true") as running:
        yield running


async def called(service: AgentService, headers: dict[str, str], receiver: Receiver) -> tuple[bytes, dict[str, str]]:
    """Run a graph with a webhook, and return the body and the headers of the call."""
    async with get_client(url=service.url, api_key=None, headers=headers) as client:
        await client.runs.wait(None, "talk", input=said("caf\u00e9"), webhook=receiver.url)
    await receiver.received()
    return receiver.contents[-1], receiver.heads[-1]


def is_signed(secret: str, call: tuple[bytes, dict[str, str]]) -> bool:
    try:
        Webhook(secret).verify(call[0], {name.lower(): value for name, value in call[1].items()})
    except WebhookVerificationError:
        return False
    return True


@pytest.mark.slow
async def test_calls_are_signed_with_the_secrets_of_their_owner(service: AgentService) -> None:
    ada, bob = service.sign_up(), service.sign_up()
    with receiving(500, 200) as receiver, httpx2.Client(base_url=service.url, trust_env=False) as http:

        def rotate(headers: dict[str, str], **body: int) -> str:
            return str(http.post(PATH, headers=headers, json=body).raise_for_status().json()["secret"])

        first, of_bob = rotate(ada), rotate(bob)
        await called(service, ada, receiver)
        await receiver.received()
        refused, repeated = zip(receiver.contents, receiver.heads, strict=True)
        assert is_signed(first, refused)
        assert is_signed(first, repeated)
        assert not is_signed(of_bob, repeated)
        assert not is_signed(first, (repeated[0] + b" ", repeated[1]))
        assert refused[1]["webhook-id"] == repeated[1]["webhook-id"]

        second = rotate(ada)
        call = await called(service, ada, receiver)
        assert is_signed(first, call)
        assert is_signed(second, call)
        assert call[1]["webhook-id"] != repeated[1]["webhook-id"]

        third = rotate(ada, previous_valid_hours=0)
        call = await called(service, ada, receiver)
        assert [is_signed(secret, call) for secret in (first, second, third)] == [False, False, True]

        assert http.delete(PATH, headers=ada).status_code == 204
        call = await called(service, ada, receiver)
        assert "webhook-signature" not in call[1]
        assert call[1]["webhook-id"].startswith("run_")
        assert is_signed(of_bob, await called(service, bob, receiver))


async def test_secret_is_shown_once_and_not_stored(
    client4: httpx2.AsyncClient, sign_up: SignUp, database_url: str
) -> None:
    headers = await sign_up()
    assert (await client4.get(PATH, headers=headers)).status_code == 404

    created: dict[str, Any] = (await client4.post(PATH, headers=headers)).json()
    shown = (await client4.get(PATH, headers=headers)).json()

    assert created["secret"].startswith("whsec_")
    assert shown == {"created_at": created["created_at"], "previous_valid_until": None}
    rotated = (await client4.post(PATH, headers=headers, json={"previous_valid_hours": 1})).json()
    assert rotated["previous_valid_until"] is not None
    assert rotated["secret"] != created["secret"]
    with psycopg.connect(database_url) as connection:
        (stored,) = connection.execute("SELECT row_to_json(webhook_secrets)::text FROM webhook_secrets").fetchone() or (
            "",
        )
    assert rotated["secret"].removeprefix("whsec_") not in stored


@pytest.mark.parametrize("hours", [-1, 721, "1"])
async def test_invalid_validity_of_the_previous_secret_is_refused(
    client4: httpx2.AsyncClient, sign_up: SignUp, hours: object
) -> None:
    response = await client4.post(PATH, headers=await sign_up(), json={"previous_valid_hours": hours})

    assert response.status_code == 422


async def test_api_key_cannot_change_the_secret(client4: httpx2.AsyncClient, sign_up: SignUp) -> None:
    headers = await sign_up()
    await client4.post(PATH, headers=headers)
    created = await client4.post("/auth/api-keys", headers=headers, json={"name": "nightly"})
    key = {"X-Api-Key": created.json()["key"]}

    assert (await client4.get(PATH, headers=key)).status_code == 200
    assert (await client4.post(PATH, headers=key)).status_code == 403
    assert (await client4.delete(PATH, headers=key)).status_code == 403
