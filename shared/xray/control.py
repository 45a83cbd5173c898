"""The launcher's control: freezes, kills and slows processes that it has started, over a Unix socket that it opens.

The socket lies in a folder of the user alone, so no other user, and no page in a browser, reaches it.
"""

import asyncio
import json
from typing import Literal

from shared.errors import NotFound, ServiceError

Action = Literal["freeze_database", "kill_worker", "slow_model"]
_SECONDS = 5.0


class ControlUnavailable(ServiceError):
    """The launcher does not answer."""

    status = 503
    type = "urn:problem:control-unavailable"
    title = "Control unavailable"
    example_detail = "The launcher does not answer."


async def actions(path: str) -> dict[Action, bool]:
    """Return the available actions, and which of them are in effect; none without a launcher."""
    return await _ask(path, {}) if path else {}


async def act(path: str, action: Action, *, active: bool) -> dict[Action, bool]:
    """Start or end an action.

    Raises:
        NotFound: if the launcher has started no such process.
        ControlUnavailable: if it does not answer.
    """
    if action not in await actions(path):
        raise NotFound("The launcher has started no process for this.")
    return await _ask(path, {"action": action, "active": active})


async def _ask(path: str, request: dict[str, str | bool]) -> dict[Action, bool]:
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(json.dumps(request).encode() + b"\n")
            answer: dict[Action, bool] = json.loads(await reader.readline())
            writer.close()
    except (OSError, TimeoutError, ValueError):
        raise ControlUnavailable(ControlUnavailable.example_detail) from None
    return answer
