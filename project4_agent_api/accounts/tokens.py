"""What shows who somebody is: access tokens, which are JWTs; refresh tokens, which are random. See decision 9.

This is the only module that knows the JWT library.
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
_ALGORITHM = "HS256"
LEEWAY_SECONDS = 10  # by which the clocks of two processes may differ
_LONGEST_TOKEN = 2048
_REQUIRED = ("exp", "iat", "iss", "aud", "sub", "jti")
_OPTIONS = {"leeway": LEEWAY_SECONDS} | {f"require_{claim}": True for claim in _REQUIRED}

_NOT_VALID = "The token is not valid, or not any more. Sign in again."


class AccessToken(BaseModel):
    """What an access token says."""

    model_config = ConfigDict(frozen=True)

    account_id: UUID = Field(validation_alias="sub")
    sign_in_id: UUID = Field(validation_alias="family", description="The family of refresh tokens that it came with.")
    token_version: int = Field(validation_alias="version", strict=True, description="The account's, at the sign-in.")
    expires_at: float = Field(validation_alias="exp", description="In seconds of Unix time.")
    jti: str = Field(strict=True, description="Its own name.")
    type: Literal["access"]


class AccessTokens:
    """Makes and reads access tokens.

    Args:
        secret: Signs them.
        minutes: How long one is good for.
    """

    def __init__(self, secret: str, minutes: int) -> None:
        self._key = jwk.construct(secret, _ALGORITHM)
        self.seconds = minutes * 60

    def issue(self, account_id: UUID, sign_in_id: UUID, token_version: int) -> str:
        """Make a token."""
        now = int(time())
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": str(account_id),
            "iat": now,
            "exp": now + self.seconds,
            "jti": uuid4().hex,
            "type": "access",
            "family": str(sign_in_id),
            "version": token_version,
        }
        token: str = jwt.encode(claims, self._key, algorithm=_ALGORITHM)
        return token

    def read(self, token: str) -> AccessToken:
        """Return what a token says, after every check that needs no database.

        Raises:
            Unauthorized: if it is not one of ours, or has expired.
        """
        if len(token) > _LONGEST_TOKEN:
            raise Unauthorized(_NOT_VALID)
        try:
            claims = jwt.decode(
                token, self._key, algorithms=[_ALGORITHM], audience=AUDIENCE, issuer=ISSUER, options=_OPTIONS
            )
            return AccessToken.model_validate(claims)
        # The library parses a header before it knows who wrote it, and one can be nested until Python gives up; of
        # claims that are not of their kind it raises what Python does.
        except (JWTError, RecursionError, TypeError, ValidationError) as error:
            raise Unauthorized(_NOT_VALID) from error


_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class RefreshToken:
    """A refresh token: a secret that its whole family shares, then one of its own.

    The first tells a token that was good once from one that somebody made up, so that only who had one can end the
    family by using it twice.
    """

    family: bytes = field(repr=False)
    own: bytes = field(repr=False)

    @classmethod
    def first(cls) -> "RefreshToken":
        """Make the first token of a family."""
        return cls(secrets.token_bytes(_SECRET_BYTES), secrets.token_bytes(_SECRET_BYTES))

    def next(self) -> "RefreshToken":
        """Make the token that comes after this one."""
        return RefreshToken(self.family, secrets.token_bytes(_SECRET_BYTES))

    @classmethod
    def parse(cls, text: str) -> "RefreshToken":
        """Read what a client sent.

        Raises:
            Unauthorized: if it has not a refresh token's form.
        """
        try:
            both = base64.b64decode(text.encode(), altchars=b"-_", validate=True)
        except (binascii.Error, UnicodeEncodeError):
            both = b""
        if len(both) != 2 * _SECRET_BYTES:
            raise Unauthorized(_NOT_VALID)
        return cls(both[:_SECRET_BYTES], both[_SECRET_BYTES:])

    def text(self) -> str:
        """Return what the client is given."""
        return base64.urlsafe_b64encode(self.family + self.own).decode()

    @property
    def family_hash(self) -> str:
        """What is stored of the first secret."""
        return sha256(self.family).hexdigest()

    @property
    def own_hash(self) -> str:
        """What is stored of the second."""
        return sha256(self.own).hexdigest()
