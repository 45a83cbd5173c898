"""Settings that production refuses, because anyone could guess the secret."""

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from project4_agent_api.settings import Settings

STRONG = "Zk8vQ2w7Rt4Lm9Xc1Bn6Hs3Jd5Pf0Yg="


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("jwt_secret", "x" * 32),
        ("jwt_secret", "please-change-me-please-change-me-1"),
        ("metrics_token", "metrics"),
        ("metrics_token", "prometheusprometheus"),
        ("langgraph_aes_key", "0123456789abcdef"),
    ],
)
def test_production_refuses_secrets_that_can_be_guessed(
    make_settings4: Callable[..., Settings], name: str, secret: str
) -> None:
    changes = {"jwt_secret": STRONG, name: secret}

    with pytest.raises(ValidationError, match=name.upper()):
        make_settings4(app_env="production", **changes)

    assert not make_settings4(app_env="development", **changes).production


def test_production_takes_random_secrets(make_settings4: Callable[..., Settings]) -> None:
    assert make_settings4(app_env="production", jwt_secret=STRONG, metrics_token=STRONG).production


@pytest.mark.parametrize("length", [15, 17, 64])
def test_aes_key_has_a_length_of_aes(make_settings4: Callable[..., Settings], length: int) -> None:
    with pytest.raises(ValidationError, match="must be 16, 24 or 32 bytes long"):
        make_settings4(langgraph_aes_key="a" * length)
