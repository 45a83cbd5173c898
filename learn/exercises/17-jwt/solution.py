"""JSON Web Tokens by library: a short access token, and a refresh token that works once."""

import uuid
from typing import Any

from jose import JWTError, jwt

ALGORITHM = "HS256"
ACCESS_SECONDS = 900
REFRESH_SECONDS = 7 * 24 * 3600


class Tokens:
    """Issues and verifies tokens."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.unused: set[str] = set()  # identifiers of the refresh tokens that were not used yet

    def issue(self, user: str, now: int) -> tuple[str, str]:
        """Return an access token and a refresh token."""
        identifier = str(uuid.uuid4())
        self.unused.add(identifier)
        access = {"sub": user, "exp": now + ACCESS_SECONDS, "kind": "access"}
        refresh = {"sub": user, "exp": now + REFRESH_SECONDS, "kind": "refresh", "jti": identifier}
        return self._encode(access), self._encode(refresh)

    def user_of(self, token: str) -> str | None:
        """Return the user of an access token, or None if it is not valid."""
        claims = self._decode(token, "access")
        return claims["sub"] if claims else None

    def refresh(self, token: str, now: int) -> tuple[str, str] | None:
        """Return new tokens for a refresh token, or None if it is not valid or was used before."""
        claims = self._decode(token, "refresh")
        if claims is None or claims["jti"] not in self.unused:
            return None
        self.unused.remove(claims["jti"])
        return self.issue(claims["sub"], now)

    def _encode(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self.secret, algorithm=ALGORITHM)

    def _decode(self, token: str, kind: str) -> dict[str, Any] | None:
        try:
            claims: dict[str, Any] = jwt.decode(token, self.secret, algorithms=[ALGORITHM])
        except JWTError:
            return None
        return claims if claims.get("kind") == kind else None
