"""No secret of anyone's stands in a log, an error or an object's repr."""

import io
from collections.abc import Callable
from uuid import uuid4

import httpx2
import pytest
from pydantic import SecretStr

from project2_user_mgmt.models import now
from project4_agent_api.accounts.schemas import ApiKeyCreated, TokenPair
from project4_agent_api.accounts.tokens import RefreshToken
from project4_agent_api.settings import Settings
from shared.logs import configure_logging
from tests.project4_agent_api.conftest import Serve
from tests.support.accounts import PASSWORD, bearer, refresh, register, sign_in


@pytest.mark.parametrize("app_env", ["test", "production"])
async def test_logs_and_errors_contain_no_secret(
    serve4: Serve, make_settings4: Callable[..., Settings], app_env: str
) -> None:
    log = io.StringIO()
    with serve4() as url:
        configure_logging(make_settings4(log_level="TRACE", app_env=app_env), log)
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            await register(client, "ada@example.com")
            tokens = await sign_in(client, "ada@example.com")
            headers = bearer(tokens)
            made = (await client.post("/auth/api-keys", json={"name": "job"}, headers=headers)).json()
            form = {"username": "ada@example.com", "password": PASSWORD}
            account = {"email": "bob@example.com", "name": "Bob", "password": PASSWORD}
            change = {"password": PASSWORD, "old_password": "a wrong guess"}
            given = {"refresh_token": tokens["refresh_token"]}
            answers = [
                await client.post("/auth/token", data=form | {"password": "a wrong guess"}),
                await client.post("/auth/token", data=form | {"username": "ada"}),
                await client.post("/auth/token", data=form | {"scope": "x"}),
                await client.post("/auth/register", json=account | {"name": ""}),
                await client.post("/auth/register", json=account | {"password": "tiny"}),
                await client.patch("/auth/me", json=change, headers=headers),
                await client.patch("/auth/me", json={"password": PASSWORD}, headers=headers),
                await client.post("/auth/refresh", json=given | {"more": 1}),
                await client.post("/auth/refresh", json={"refresh_token": tokens["access_token"]}),
                await client.get("/documents", headers={"Authorization": f"Bearer {tokens['access_token']}x"}),
                await client.get("/documents", headers={"X-Api-Key": made["key"]}),
                await client.get("/documents", headers={"X-Api-Key": f"{made['key']}x"}),
            ]
            renewed = (await refresh(client, tokens)).json()
            answers += [await refresh(client, tokens), await client.get("/documents", headers=bearer(renewed))]
        configure_logging(make_settings4())

    written = log.getvalue() + "".join(answer.text for answer in answers)
    assert "POST /auth/token 401" in written
    secrets = [PASSWORD, "a wrong guess", "tiny", made["key"]]
    secrets += [pair[name] for pair in (tokens, renewed) for name in ("access_token", "refresh_token")]
    secrets += [make_settings4().jwt_secret.get_secret_value(), "$argon2id$"]
    assert [secret for secret in secrets if secret in written] == []


async def test_reprs_contain_no_secret(make_settings4: Callable[..., Settings]) -> None:
    token = RefreshToken.first()
    pair = TokenPair(access_token="aaaa", refresh_token="bbbb", expires_in=1)
    shown_key = {"id": uuid4(), "name": "n", "beginning": "b", "created_at": now(), "key": "cccc"}
    key = ApiKeyCreated.model_validate(shown_key | {"expires_at": None, "last_used_at": None})
    settings = make_settings4(jwt_secret=SecretStr("d" * 32))

    shown = f"{token!r} {pair!r} {key!r} {settings!r}"

    assert repr(token) == "RefreshToken()"
    assert not [secret for secret in ("aaaa", "bbbb", "cccc", "d" * 32) if secret in shown]
