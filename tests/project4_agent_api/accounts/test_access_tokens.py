"""Access tokens by themselves: claims, and rejected tokens. Through the API: `test_tokens.py`."""

from time import time
from typing import Any
from uuid import UUID, uuid4

import pytest
from jose import jwt

from project4_agent_api.accounts.tokens import AUDIENCE, ISSUER, AccessTokens
from shared.errors import Unauthorized

SECRET = "a secret of the tests, with more than 32 bytes"
ACCOUNT, SIGN_IN = UUID(int=1), UUID(int=2)


@pytest.fixture
def tokens() -> AccessTokens:
    return AccessTokens(SECRET, minutes=15)


def claims(**changes: Any) -> dict[str, Any]:
    now = int(time())
    given = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": str(ACCOUNT),
        "iat": now,
        "exp": now + 900,
        "jti": uuid4().hex,
        "type": "access",
        "family": str(SIGN_IN),
        "version": 3,
    }
    return {name: value for name, value in (given | changes).items() if value is not None}


def signed(secret: str = SECRET, algorithm: str = "HS256", **changes: Any) -> str:
    token: str = jwt.encode(claims(**changes), secret, algorithm=algorithm)
    return token


def test_token_carries_its_account_and_expiry(tokens: AccessTokens) -> None:
    before = int(time())

    issued = [tokens.issue(ACCOUNT, SIGN_IN, 3) for _ in range(2)]

    said = jwt.decode(issued[0], SECRET, algorithms=["HS256"], audience=AUDIENCE, issuer=ISSUER)
    assert said.keys() == claims().keys()
    assert (said["sub"], said["family"], said["version"], said["type"]) == (str(ACCOUNT), str(SIGN_IN), 3, "access")
    assert said["iat"] >= before
    assert said["exp"] - said["iat"] == 15 * 60
    assert said["jti"] != jwt.get_unverified_claims(issued[1])["jti"]


def test_valid_token_is_read(tokens: AccessTokens) -> None:
    said = tokens.read(signed())

    assert (said.account_id, said.sign_in_id, said.token_version) == (ACCOUNT, SIGN_IN, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"secret": "another secret, and also with more than 32 bytes"},
        {"algorithm": "HS512"},
        {"exp": 1},
        {"iss": "somebody else"},
        {"aud": "another service"},
        {"type": "refresh"},
        {"jti": None},
        {"sub": "no id"},
        {"version": "3"},
    ],
    ids=str,
)
def test_token_with_other_claims_is_rejected(tokens: AccessTokens, changes: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized):
        tokens.read(signed(**changes))


@pytest.mark.parametrize("token", ["no token", ""])
def test_invalid_token_is_rejected(tokens: AccessTokens, token: str) -> None:
    with pytest.raises(Unauthorized):
        tokens.read(token)
