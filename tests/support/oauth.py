"""A client of OAuth, and the browser of its user."""

import base64
import secrets
from hashlib import sha256
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider, TokenStorage
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken
from pydantic import AnyUrl

CALLBACK = "http://127.0.0.1:51234/callback"
VERIFIER = secrets.token_urlsafe(48)
CHALLENGE = base64.urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).decode().rstrip("=")


class Browser:
    """The user's browser: signed in, it allows or denies the requests of clients."""

    def __init__(self, http: httpx2.AsyncClient, headers: dict[str, str], *, allows: bool = True) -> None:
        self._http = http
        self._headers = headers
        self._allows = allows
        self.answer: dict[str, str] = {}

    async def open(self, url: str) -> None:
        """Open an authorization URL, decide, and follow the redirect to the client."""
        page = await self._http.get(url)
        assert page.status_code == 200
        assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
        body = {"query": urlsplit(url).query, "allow": self._allows}
        decided = await self._http.post("/auth/consent", json=body, headers=self._headers)
        assert decided.status_code == 200, decided.text
        self.answer = parameters(decided.json()["redirect_to"])


def parameters(url: str) -> dict[str, str]:
    """Return the query of an address."""
    return {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}


def query(client_id: str, **changes: str | None) -> str:
    """Return the query of an authorization request."""
    fields = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": CALLBACK,
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
        "state": "of the client",
    }
    return urlencode({name: value for name, value in {**fields, **changes}.items() if value is not None})


async def allowed_code(http: httpx2.AsyncClient, headers: dict[str, str], client_id: str, **changes: str) -> str:
    """Return the code that a client gets when the user allows its request."""
    browser = Browser(http, headers)
    await browser.open(f"/authorize?{query(client_id, **changes)}")
    return browser.answer["code"]


async def exchange(http: httpx2.AsyncClient, client_id: str, code: str, **changes: str) -> httpx2.Response:
    """Exchange a code for tokens."""
    form = {"grant_type": "authorization_code", "client_id": client_id, "code": code}
    proof = {"code_verifier": VERIFIER, "redirect_uri": CALLBACK}
    return await http.post("/oauth/token", data={**form, **proof, **changes})


class Memory(TokenStorage):
    """The storage of the official client."""

    tokens: OAuthToken | None = None
    client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


def official_client(url: str, browser: Browser, storage: Memory, *, document: str | None = None) -> OAuthClientProvider:
    """Make the official client's sign-in. With the URL of a document, it does not register itself."""

    async def callback() -> tuple[str, str | None]:
        return browser.answer["code"], browser.answer["state"]

    metadata = OAuthClientMetadata(client_name="A desktop client", redirect_uris=[AnyUrl(CALLBACK)])
    return OAuthClientProvider(f"{url}/mcp", metadata, storage, browser.open, callback, client_metadata_url=document)
