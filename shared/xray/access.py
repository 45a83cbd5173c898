"""Access to the X-ray of requests. It can be imported without OpenTelemetry's SDK."""

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fastapi import APIRouter, Request

from shared.errors import NotFound
from shared.owner import LOCAL_OWNER_ID
from shared.xray.rows import Buffer, RequestHead

if TYPE_CHECKING:
    from shared.xray.recorder import Recorder
    from shared.xray.sources import Links


@dataclass(frozen=True)
class Viewer:
    """The caller of the X-ray's routes."""

    owner_id: UUID
    is_administrator: bool

    def may_see(self, head: RequestHead) -> bool:
        """Return whether a request is the caller's own, or the caller is an administrator."""
        return self.is_administrator or head.owner_id == self.owner_id


def _local_user(_: Request) -> Viewer:
    return Viewer(LOCAL_OWNER_ID, is_administrator=True)


@dataclass(frozen=True)
class Access:
    """The users of the X-ray of a service: by default everyone on this machine, as one local user.

    Attributes:
        guard: Wraps the X-ray's routes, with authentication.
        viewer_of: Returns the caller of an authenticated request.
        audience: Audience of the X-ray's panel; see `Panel`.
    """

    guard: Callable[[APIRouter], APIRouter] = lambda router: router
    viewer_of: Callable[[Request], Viewer] = _local_user
    audience: str = ""


EVERYONE = Access()


@dataclass
class Xray:
    """The X-ray of a process.

    Attributes:
        control_socket: Path of the launcher's control; empty without a launcher.
    """

    recorder: "Recorder"
    buffer: Buffer
    links: "Links"
    access: Access = field(default_factory=Access)
    control_socket: str = ""


async def get_xray(request: Request) -> Xray:
    """Return the X-ray, to a client on this machine.

    Raises:
        NotFound: if the request comes from another machine, through a proxy.
    """
    client = request.client.host if request.client else ""
    if not _is_loopback(client):
        raise NotFound("The X-ray is for this machine only.")
    xray: Xray = request.app.state.xray
    return xray


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


async def get_viewer(request: Request) -> Viewer:
    """Return the caller."""
    xray: Any = request.app.state.xray
    viewer: Viewer = xray.access.viewer_of(request)
    return viewer
