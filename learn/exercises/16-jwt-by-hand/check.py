import json

import pytest

SECRET = "a secret of at least 32 characters"
# Issued by a library, for {"sub": "ada", "exp": 2000000000}.
FOREIGN = (
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhZGEiLCJleHAiOjIwMDAwMDAwMDB9"
    ".mGKKiCD5dWKGNqvfkpZMCl5ofyLZILzDaAtt7xZ24Kw"
)


def refused(exercise, token, now=100, secret=SECRET):
    with pytest.raises(ValueError):  # noqa: PT011  any message
        exercise.verify(token, secret, now)
    return True


def test_token_has_header_claims_and_signature(exercise):
    header, claims, signature = exercise.issue({"sub": "ada", "exp": 200}, SECRET).split(".")
    assert json.loads(exercise.decode(header)) == {"alg": "HS256", "typ": "JWT"}
    assert json.loads(exercise.decode(claims)) == {"sub": "ada", "exp": 200}
    assert len(exercise.decode(signature)) == 32


def test_claims_are_returned(exercise):
    token = exercise.issue({"sub": "ada", "exp": 200}, SECRET)
    assert exercise.verify(token, SECRET, 100) == {"sub": "ada", "exp": 200}


def test_token_of_a_library_is_accepted(exercise):
    assert exercise.verify(FOREIGN, SECRET, 100)["sub"] == "ada"


def test_expired_token_is_refused(exercise):
    assert refused(exercise, exercise.issue({"exp": 100}, SECRET), now=100)


def test_wrong_secret_is_refused(exercise):
    assert refused(exercise, exercise.issue({"exp": 200}, SECRET), secret="other")


def test_changed_claims_are_refused(exercise):
    header, _, signature = exercise.issue({"sub": "ada", "exp": 200}, SECRET).split(".")
    forged = exercise.encode(json.dumps({"sub": "root", "exp": 200}).encode())
    assert refused(exercise, f"{header}.{forged}.{signature}")


def test_header_cannot_switch_the_signature_off(exercise):
    header = exercise.encode(b'{"alg": "none"}')
    claims = exercise.encode(b'{"sub": "root", "exp": 200}')
    assert refused(exercise, f"{header}.{claims}.")
    assert refused(exercise, f"{header}.{claims}")
