"""Addresses of servers, `//USER:PASSWORD@HOSTS/PATH?QUERY`, whose password need not be percent-encoded."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import unquote

_HOST = r"(?:\[[^\[\]@/]*\]|[^\[\]:@/?,]*)(?::\d*)?"
_PLACE = re.compile(rf"(?P<hosts>{_HOST}(?:,{_HOST})*)(?:/(?P<path>[^?@]*))?(?:\?(?P<query>(?:\w+=.*)?))?", re.DOTALL)


@dataclass(frozen=True)
class Address:
    """The parts of an address, still encoded.

    Attributes:
        hosts: Such as `h`, `h:1`, `[::1]:1` and `%2Ftmp`.
    """

    user: str
    password: str
    hosts: tuple[str, ...]
    path: str
    query: str

    def parameters(self) -> Iterator[tuple[str, str]]:
        """Yield the names and values of the query; a plus sign is one."""
        for pair in self.query.split("&"):
            name, _, value = pair.partition("=")
            if name and value:
                yield unquote(name), unquote(value)


def split_address(text: str) -> Address | None:
    """Split an address after its `//`, or return None. A password may contain `@`, `/` and `?` as they are."""
    ends = [("", text), *((text[: at.start()], text[at.end() :]) for at in re.finditer("@", text))]
    for credentials, place in ends:
        if parts := _PLACE.fullmatch(place):
            user, _, password = credentials.partition(":")
            return Address(user, password, tuple(parts["hosts"].split(",")), parts["path"] or "", parts["query"] or "")
    return None
