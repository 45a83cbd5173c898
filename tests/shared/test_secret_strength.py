"""Secrets that can be guessed are recognized; random ones are not."""

import secrets

import pytest

from shared.secret_strength import weakness


@pytest.mark.parametrize(
    "secret",
    [
        "a" * 40,
        "ab" * 20,
        "0123456789abcdef" * 2,
        "abcdefghijklmnopqrstuvwxyz012345",
        "Change-Me-Before-Production-0a9s8d7f6",
        "your-256-bit-secret-goes-in-this-place",
        "a-string-secret-at-least-256-bits-long",
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",
        "django-insecure-4k)x2!m7#p9qz&v5w8r",
    ],
)
def test_guessable_secret_is_weak(secret: str) -> None:
    assert weakness(secret)


@pytest.mark.parametrize("make", [secrets.token_hex, secrets.token_urlsafe])
def test_random_secret_is_not_weak(make: type[str]) -> None:
    assert [secret for secret in (make(32) for _ in range(1000)) if weakness(secret)] == []
