"""API keys: make, list, delete."""

from uuid import UUID

from fastapi import APIRouter, Depends

from project4_agent_api.accounts import api_keys
from project4_agent_api.accounts.guards import AccountChanges, CurrentAccount, signed_in
from project4_agent_api.accounts.schemas import ApiKeyCreate, ApiKeyCreated, ApiKeyPage, ApiKeyRead
from shared.database.engine import ReadSessionDep, SessionDep
from shared.errors import Forbidden, NotFound, documented
from shared.pagination import Cursor, Limit, decode_cursor, page_of

router = APIRouter(prefix="/auth/api-keys", tags=["accounts"], responses=documented(NotFound))


@router.post("", status_code=201, dependencies=[Depends(signed_in)], responses=documented(Forbidden))
async def create_api_key(body: ApiKeyCreate, account_id: CurrentAccount, session: SessionDep) -> ApiKeyCreated:
    """Make a key for a program, which sends it as `X-Api-Key`. It is shown here and never again."""
    row, key = await api_keys.create_api_key(session, account_id, body)
    return ApiKeyCreated(key=key, **row.model_dump())


@router.get("")
async def list_api_keys(
    account_id: CurrentAccount, session: ReadSessionDep, limit: Limit = 20, cursor: Cursor = None
) -> ApiKeyPage:
    """List keys, newest first, page by page."""
    before = decode_cursor(cursor) if cursor else None
    found = await api_keys.list_api_keys(session, account_id, before=before, limit=limit + 1)
    page, next_cursor = page_of(found, limit)
    return ApiKeyPage(items=[ApiKeyRead.model_validate(one) for one in page], next_cursor=next_cursor)


@router.delete(
    "/{key_id}",
    status_code=204,
    dependencies=[Depends(signed_in), AccountChanges],
    responses=documented(Forbidden),
)
async def delete_api_key(key_id: UUID, account_id: CurrentAccount, session: SessionDep) -> None:
    """Delete a key. It is good for nothing any more, at once."""
    await api_keys.delete_api_key(session, account_id, key_id)
