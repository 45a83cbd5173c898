"""The formats of access tokens, which are JWTs, and of refresh tokens, which are random. See decision 9.

Only this module uses the JWT library. `sign_ins.py` stores refresh tokens and rotates them.
"""

import base64
import binascii
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from time import time
from typing import Literal
from uuid import UUID, uuid4

from jose import jwk, jwt
from jose.exceptions import JWTError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import Unauthorized

ISSUER = "urn:ai-backend-capstones:project4"
AUDIENCE = "urn:ai-backend-capstones:project4:api"
MCP_AUDIENCE = "urn:ai-backend-capstones:project4:mcp"
MCP_PREFIX = "mcp_"  # makes a leaked token recognizable
_ALGORITHM = "HS256"
_LEEWAY_SECONDS = 2  # how far the clocks of two processes may differ
_MAX_TOKEN_LENGTH = 2048
_REQUIRED = ("exp", "iat", "iss", "aud", "sub", "jti")
_OPTIONS = {"leeway": _LEEWAY_SECONDS} | {f"require_{claim}": True for claim in _REQUIRED}
INVALID_TOKEN = "The token is not valid. Sign in again."  # noqa: S105  a text


class AccessToken(BaseModel):
    """The claims of an access token."""

    model_config = ConfigDict(frozen=True)

    account_id: UUID = Field(validation_alias="sub")
    sign_in_id: UUID = Field(validation_alias="family", description="The family of refresh tokens it was issued with.")
    scope: str = Field(default="", description="Scopes of OAuth, separated by spaces.")
    token_version: int = Field(validation_alias="version", strict=True, description="Of the account, at the sign-in.")
    expires_at: float = Field(validation_alias="exp", description="Unix time in seconds.")
    jti: str = Field(strict=True, description="Unique id of the token.")
    type: Literal["access"]

    @property
    def rejected_at(self) -> float:
        """Unix time from which the token is rejected. The JWT library compares whole seconds."""
        return self.expires_at + _LEEWAY_SECONDS + 1


class AccessTokens:
    """Issues and verifies access tokens.

    Args:
        secret: Key of the signature.
        minutes: Lifetime of a token.
        audience: The tokens' audience; a token with another one is not valid.
        prefix: First characters of these tokens.
    """

    def __init__(self, secret: str, minutes: int, audience: str = AUDIENCE, prefix: str = "") -> None:
        self._key = jwk.construct(secret, _ALGORITHM)
        self._audience = audience
        self._prefix = prefix
        self.lifetime_seconds = minutes * 60

    def issue(self, account_id: UUID, sign_in_id: UUID, token_version: int, scope: str = "") -> str:
        """Issue a token."""
        now = int(time())
        claims = {
            "iss": ISSUER,
            "aud": self._audience,
            "sub": str(account_id),
            "iat": now,
            "exp": now + self.lifetime_seconds,
            "jti": uuid4().hex,
            "type": "access",
            "family": str(sign_in_id),
            "version": token_version,
            **({"scope": scope} if scope else {}),
        }
        token: str = jwt.encode(claims, self._key, algorithm=_ALGORITHM)
        return self._prefix + token

    def keyed_hash(self, text: str) -> str:
        """Return a hash that cannot be computed without the secret. A text with a space is never a JWT's content."""
        signature: bytes = self._key.sign(f"hash {text}".encode())
        return signature.hex()

    def read(self, token: str) -> AccessToken:
        """Verify a token as far as possible without the database, and return its claims.

        Raises:
            Unauthorized: if the signature, a claim or the form is wrong, or the token has expired.
        """
        if len(token) > _MAX_TOKEN_LENGTH or not token.startswith(self._prefix):
            raise Unauthorized(INVALID_TOKEN)
        try:
            claims = jwt.decode(
                token.removeprefix(self._prefix),
                self._key,
                algorithms=[_ALGORITHM],
                audience=self._audience,
                issuer=ISSUER,
                options=_OPTIONS,
            )
            return AccessToken.model_validate(claims)
        # The library parses the header before it verifies the signature. A deeply nested header raises RecursionError,
        # a claim of a wrong type TypeError.
        except (JWTError, RecursionError, TypeError, ValidationError) as error:
            raise Unauthorized(INVALID_TOKEN) from error


def is_mcp_token(token: str) -> bool:
    """Return whether a token has the form of those that OAuth's clients get for `/mcp`."""
    return token.startswith(MCP_PREFIX)


_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token: a secret shared by its whole family, followed by a secret of its own.

    The shared secret distinguishes a token that was once valid from an invented one, so that only a holder of a real
    token can end the family by using it twice.
    """

    family: bytes = field(repr=False)
    own: bytes = field(repr=False)

    @classmethod
    def first(cls) -> "RefreshToken":
        """Create the first token of a new family."""
        return cls(secrets.token_bytes(_SECRET_BYTES), secrets.token_bytes(_SECRET_BYTES))

    def next(self) -> "RefreshToken":
        """Create the successor of this token."""
        return RefreshToken(self.family, secrets.token_bytes(_SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> "RefreshToken":
        """Parse the token that a client sent.

        Raises:
            Unauthorized: if it does not have the form of a refresh token.
        """
        try:
            both = base64.b64decode(text.encode(), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            both = b""
        if len(both) != 2 * _SECRET_BYTES:
            raise Unauthorized(INVALID_TOKEN)
        return cls(both[:_SECRET_BYTES], both[_SECRET_BYTES:])

    def text(self) -> str:
        """Return the token in the form that clients receive."""
        return base64.urlsafe_b64encode(self.family + self.own).decode()

    @property
    def family_hash(self) -> str:
        """Stored hash of the family's secret."""
        return sha256(self.family).hexdigest()

    @property
    def own_hash(self) -> str:
        """Stored hash of the token's own secret."""
        return sha256(self.own).hexdigest()
