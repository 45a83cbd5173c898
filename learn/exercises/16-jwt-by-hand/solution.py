"""A JSON Web Token by hand: three parts, the last of which proves that nobody changed the others."""

import base64
import hashlib
import hmac
import json
from typing import Any


def encode(data: bytes) -> str:
    """Return bytes as URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Return the bytes that `encode` was given."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def sign(signed: str, secret: str) -> str:
    """Return the signature (HMAC with SHA-256) of a text."""
    return encode(hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest())


def issue(claims: dict[str, Any], secret: str) -> str:
    """Return a token: header.claims.signature, where the header is {"alg": "HS256", "typ": "JWT"}."""
    header = encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    signed = f"{header}.{encode(json.dumps(claims).encode())}"
    return f"{signed}.{sign(signed, secret)}"


def verify(token: str, secret: str, now: float) -> dict[str, Any]:
    """Return a token's claims.

    Raises:
        ValueError: if it has not three parts, the signature is wrong, or `exp` (seconds) is not after `now`.
    """
    header, payload, signature = token.split(".")
    if not hmac.compare_digest(signature, sign(f"{header}.{payload}", secret)):
        raise ValueError("the signature is wrong")
    claims: dict[str, Any] = json.loads(decode(payload))
    if claims["exp"] <= now:
        raise ValueError("the token has expired")
    return claims
