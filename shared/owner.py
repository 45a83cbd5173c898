"""Who is asking: the one notion of a principal, for every stage.

Dependencies that wait for nothing are `async def` all the same: FastAPI sends a plain `def` to a thread and back.
"""

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

# The one user of a service without accounts. Its rows can be given to an account later.
LOCAL_OWNER_ID = UUID("00000000-0000-7000-8000-000000000001")


async def current_owner(request: Request) -> UUID:
    """Return whose request this is: the local user, unless an authentication has set `request.state.owner_id`."""
    owner_id: UUID = getattr(request.state, "owner_id", LOCAL_OWNER_ID)
    return owner_id


CurrentOwner = Annotated[UUID, Depends(current_owner)]
