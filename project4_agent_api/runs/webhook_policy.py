"""The `webhooks` key of a project: which addresses runs may name, and headers of the calls."""

import os
import re
from dataclasses import dataclass, field

import httpx2

from project4_agent_api.graphs.langgraph_json import Project
from project4_agent_api.graphs.project_file import WebhookUrlPart
from shared.errors import ConfigurationError, InvalidRequest

_TEMPLATE = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class WebhookPolicy:
    """A project's rules for webhooks.

    Attributes:
        headers: Added to each call.
    """

    url: WebhookUrlPart = field(default_factory=WebhookUrlPart)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    disabled: bool = False

    @classmethod
    def load(cls, project: Project | None) -> "WebhookPolicy":
        """Read a project's policy, and replace `${{ env.NAME }}` in its headers.

        Raises:
            ConfigurationError: if a header names a variable that is not set, or must not be sent.
        """
        if project is None:
            return cls()
        part, disabled = project.file.webhooks, project.file.http.disable_webhooks
        if part is None:
            return cls(disabled=disabled)

        def value_of(match: re.Match[str]) -> str:
            scope, _, name = match[1].partition(".")
            if scope != "env" or not name.startswith(part.env_prefix):
                raise ConfigurationError(
                    f"{project.path}: webhooks.headers: {match[0]} does not name a variable that begins with "
                    f"{part.env_prefix}"
                )
            if name not in os.environ:
                raise ConfigurationError(f"{project.path}: webhooks.headers: the variable {name} is not set")
            return os.environ[name]

        headers = tuple(
            (name.encode("latin-1"), _TEMPLATE.sub(value_of, value).encode("latin-1"))
            for name, value in part.headers.items()
        )
        return cls(part.url, headers, disabled)

    def check(self, address: str | None) -> None:
        """Check the address that a run or a cron names.

        Raises:
            InvalidRequest: if the project does not permit it.
        """
        if address is None:
            return
        if self.disabled:
            raise InvalidRequest("This service calls no webhooks.")
        url, rules = httpx2.URL(address), self.url
        if rules.max_url_length is not None and len(address) > rules.max_url_length:
            raise InvalidRequest("The webhook's address is too long.")
        if rules.require_https and url.scheme != "https":
            raise InvalidRequest("The webhook's address must begin with https://.")
        if rules.allowed_ports and (url.port or _PORTS.get(url.scheme)) not in rules.allowed_ports:
            raise InvalidRequest("The port of the webhook's address is not permitted.")
        if rules.allowed_domains and not any(_covers(domain, url.host) for domain in rules.allowed_domains):
            raise InvalidRequest("The host of the webhook's address is not permitted.")


EVERYTHING = WebhookPolicy()


def _covers(domain: str, host: str) -> bool:
    domain, host = domain.strip().lower(), host.lower()
    return host.endswith(domain[1:]) if domain.startswith("*.") else host == domain
