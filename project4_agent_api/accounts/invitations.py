"""Registration: for everyone, for those with an invitation, or for nobody.

An invitation is a signed text that names an e-mail and a time. It is not stored: an e-mail can be registered only once.
"""

import base64
import hmac
from dataclasses import dataclass
from time import time
from typing import Literal

from project2_user_mgmt.schemas import normalize_email
from project4_agent_api.accounts.tokens import AccessTokens
from shared.errors import Forbidden

Registration = Literal["open", "invitation", "closed"]
DAYS = 7


@dataclass(frozen=True)
class Invitations:
    """Creates and verifies invitations.

    Attributes:
        tokens: Has the key that signs them.
    """

    tokens: AccessTokens
    registration: Registration

    def create(self, email: str, days: int = DAYS) -> str:
        """Return an invitation for an e-mail address."""
        expires_at = str(int(time()) + days * 86_400)
        text = f"{expires_at}.{self._sign(email, expires_at)}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    def require(self, email: str, invitation: str | None) -> None:
        """Check that an e-mail address may be registered.

        Raises:
            Forbidden: if not.
        """
        if self.registration == "open":
            return
        if self.registration == "closed":
            raise Forbidden("Registration is closed. Ask an administrator for an account.")
        try:
            text = base64.urlsafe_b64decode((invitation or "") + "==").decode()
        except ValueError:
            text = ""
        expires_at, _, signature = text.partition(".")
        valid = hmac.compare_digest(signature.encode(), self._sign(email, expires_at).encode())
        if not valid or int(expires_at) < time():
            raise Forbidden("Registration needs a valid invitation for this e-mail. Ask an administrator for one.")

    def _sign(self, email: str, expires_at: str) -> str:
        return self.tokens.keyed_hash(f"invitation {normalize_email(email).lower()} {expires_at}")
