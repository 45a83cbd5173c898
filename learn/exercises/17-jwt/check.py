import time

import pytest
from jose import jwt

SECRET = "a secret of at least 32 characters"
NOW = int(time.time())


@pytest.fixture
def tokens(exercise):
    return exercise.Tokens(SECRET)


def test_claims_and_lifetimes(tokens):
    access, refresh = (jwt.get_unverified_claims(token) for token in tokens.issue("ada", NOW))
    assert access == {"sub": "ada", "exp": NOW + 900, "kind": "access"}
    assert (refresh["sub"], refresh["exp"], refresh["kind"]) == ("ada", NOW + 7 * 24 * 3600, "refresh")


def test_access_token_names_its_user(tokens):
    assert tokens.user_of(tokens.issue("ada", NOW)[0]) == "ada"


def test_refresh_token_is_no_access_token(tokens):
    access, refresh = tokens.issue("ada", NOW)
    assert tokens.user_of(refresh) is None
    assert tokens.refresh(access, NOW) is None


def test_invalid_tokens_are_refused(exercise, tokens):
    assert tokens.user_of("nonsense") is None
    assert tokens.user_of(exercise.Tokens("another secret of 32 characters!").issue("ada", NOW)[0]) is None
    assert tokens.user_of(tokens.issue("ada", NOW - 3600)[0]) is None


def test_refresh_token_works_once(tokens):
    _, refresh = tokens.issue("ada", NOW)
    access, second = tokens.refresh(refresh, NOW)
    assert tokens.user_of(access) == "ada"
    assert tokens.refresh(refresh, NOW) is None
    assert tokens.refresh(second, NOW) is not None
