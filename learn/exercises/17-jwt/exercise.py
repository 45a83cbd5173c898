"""JSON Web Tokens by library: a short access token, and a refresh token that works once."""

import uuid

from jose import JWTError, jwt  # noqa: F401  you need both

ALGORITHM = "HS256"
ACCESS_SECONDS = 900
REFRESH_SECONDS = 7 * 24 * 3600


class Tokens:
    """Issues and verifies tokens."""

    def __init__(self, secret):
        self.secret = secret
        self.unused = set()  # identifiers of the refresh tokens that were not used yet

    def issue(self, user, now):
        """Return an access token and a refresh token."""
        # TODO: Claims: `sub`, `exp` and `kind` ("access" or "refresh"); a refresh token also has a `jti`, a new identifier
        #       that is added to `unused`.
        #       声明包括 sub、exp 和 kind（"access" 或 "refresh"）；刷新令牌另有 jti，是新的编号，要加进 unused。
        return "", ""

    def user_of(self, token):
        """Return the user of an access token, or None if it is not valid."""
        # TODO: `jwt.decode` checks signature and expiry, and raises JWTError. A refresh token is no access token.
        #       jwt.decode 会检查签名和有效期，失败抛 JWTError。刷新令牌不能当访问令牌用。
        return None

    def refresh(self, token, now):
        """Return new tokens for a refresh token, or None if it is not valid or was used before."""
        # TODO: Write the method.
        #       写出这个方法。
        return None
