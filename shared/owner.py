"""The owner of a request's data, in every stage.

Dependencies that do not wait are `async def` too: FastAPI runs a plain `def` in a thread.
"""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

# The only user of a service without accounts. `adopt-documents` transfers its rows to an account later.
LOCAL_OWNER_ID = UUID("00000000-0000-7000-8000-000000000001")


async def current_owner(request: Request) -> UUID:
    """Return the owner of a request: the local user, unless authentication has set `request.state.owner_id`."""
    owner_id: UUID = getattr(request.state, "owner_id", LOCAL_OWNER_ID)
    return owner_id


CurrentOwner = Annotated[UUID, Depends(current_owner)]
