"""The programs that may act for a user: list and remove them."""

from uuid import UUID

from fastapi import APIRouter, Depends

from project4_agent_api.accounts.guards import CurrentAccount, InvalidatePrincipals, require_sign_in
from project4_agent_api.accounts.oauth import grants
from project4_agent_api.accounts.oauth.schemas import GrantPage, GrantRead
from shared.database.engine import ReadSessionDep, SessionDep
from shared.errors import Forbidden, NotFound
from shared.pagination import PageCursor, PageSize, decode_cursor, split_page
from shared.problems import error_responses

router = APIRouter(prefix="/auth/grants", tags=["oauth"], responses=error_responses(NotFound))


@router.get("")
async def list_grants(
    account_id: CurrentAccount, session: ReadSessionDep, limit: PageSize = 20, cursor: PageCursor = None
) -> GrantPage:
    """List the programs that may act for the user, newest first, page by page."""
    before = decode_cursor(cursor) if cursor else None
    rows = await grants.list_grants(session, account_id, before=before, limit=limit + 1)
    page, next_cursor = split_page(rows, limit)
    return GrantPage(items=[GrantRead.model_validate(row) for row in page], next_cursor=next_cursor)


@router.delete(
    "/{grant_id}",
    status_code=204,
    dependencies=[Depends(require_sign_in), InvalidatePrincipals],
    responses=error_responses(Forbidden),
)
async def delete_grant(grant_id: UUID, account_id: CurrentAccount, session: SessionDep) -> None:
    """Revoke the access of a program. Its tokens become invalid at once."""
    await grants.delete_grant(session, account_id, grant_id)
