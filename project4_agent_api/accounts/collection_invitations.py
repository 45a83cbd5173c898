"""Invitations to collections, by e-mail address.

An owner who invites an address does not learn whether somebody has an account with it: the invitation is listed until
its user accepts it, also after a refusal. It reaches an account only if that exists at the time, because addresses are
not verified: otherwise anybody could register an invited address, and read the documents.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field
from uuid_utils.compat import uuid7

from project2_user_mgmt.schemas import Email
from project3_rag_docs.schemas import CollectionRead
from project4_agent_api.accounts.sharing import MAX_SHARES, ShareBody, lock_collection
from project4_agent_api.core.postgres import Pool, PoolDep, connected, execute, fetch_all, fetch_one
from shared.errors import DatabaseUnavailable, InvalidRequest, NotFound
from shared.owner import CurrentOwner
from shared.problems import error_responses

_NO_INVITATION = "There is no invitation with this id."

_IS_OWN = "SELECT FROM users WHERE id = %(owner)s AND lower(email) = lower(%(email)s)"
_OTHERS = """
    SELECT (SELECT count(*) FROM collection_shares WHERE collection_id = %(collection)s) + count(*) AS number
    FROM collection_invitations WHERE collection_id = %(collection)s AND lower(email) <> lower(%(email)s)
"""
_INVITE = """
    INSERT INTO collection_invitations (id, collection_id, owner_id, email, user_id, writable, created_at)
    VALUES (
        %(id)s, %(collection)s, %(owner)s, CAST(%(email)s AS text),
        (SELECT id FROM users WHERE lower(email) = lower(CAST(%(email)s AS text))),
        %(writable)s, now()
    )
    ON CONFLICT (collection_id, lower(email)) DO UPDATE SET
        email = excluded.email, user_id = excluded.user_id, writable = excluded.writable, created_at = now()
    RETURNING id, email, CASE WHEN writable THEN 'write' ELSE 'read' END AS access, created_at
"""
_SENT = """
    SELECT id, email, CASE WHEN writable THEN 'write' ELSE 'read' END AS access, created_at
    FROM collection_invitations WHERE collection_id = %s ORDER BY lower(email)
"""
_WITHDRAW = "DELETE FROM collection_invitations WHERE id = %s AND collection_id = %s AND owner_id = %s"
_RECEIVED = """
    SELECT invitations.id, collections.name AS collection, users.email AS owner,
        CASE WHEN writable THEN 'write' ELSE 'read' END AS access, invitations.created_at
    FROM collection_invitations AS invitations
    JOIN collections ON collections.id = collection_id JOIN users ON users.id = invitations.owner_id
    WHERE user_id = %s ORDER BY invitations.created_at DESC, invitations.id LIMIT %s
"""
_LOCK_COLLECTION = """
    SELECT id, name FROM collections
    WHERE id = (SELECT collection_id FROM collection_invitations WHERE id = %(id)s AND user_id = %(user)s)
    FOR UPDATE
"""
_TAKEN = "SELECT count(*) AS number FROM collection_shares WHERE user_id = %(user)s AND collection_id <> %(collection)s"
_ACCEPT = """
    WITH accepted AS (
        DELETE FROM collection_invitations WHERE id = %(id)s AND user_id = %(user)s
        RETURNING collection_id, user_id, owner_id, writable, email
    )
    INSERT INTO collection_shares (collection_id, user_id, owner_id, writable, email, created_at)
    SELECT *, now() FROM accepted
    ON CONFLICT (collection_id, user_id) DO UPDATE SET writable = excluded.writable, email = excluded.email
    RETURNING CASE WHEN writable THEN 'write' ELSE 'read' END AS access
"""
_REFUSE = "UPDATE collection_invitations SET user_id = NULL WHERE id = %s AND user_id = %s"


class CollectionInvitationBody(ShareBody):
    """A user to invite, and the access to offer."""

    email: Email


class CollectionInvitationRead(BaseModel):
    """An invitation that was neither accepted nor withdrawn."""

    id: UUID
    email: str
    access: Literal["read", "write"]
    created_at: datetime


class CollectionInvitationList(BaseModel):
    """Invitations by e-mail address."""

    items: list[CollectionInvitationRead]


class ReceivedInvitation(BaseModel):
    """An invitation that the caller received."""

    id: UUID
    collection: str = Field(description="The name of the collection.")
    owner: str = Field(description="The e-mail address of its owner.")
    access: Literal["read", "write"]
    created_at: datetime


class ReceivedInvitations(BaseModel):
    """Invitations that the caller received, newest first; at most 100."""

    items: list[ReceivedInvitation]


@dataclass(frozen=True)
class CollectionInvitations:
    """The invitations to collections."""

    pool: Pool

    async def invite(self, owner_id: UUID, collection_id: UUID, email: str, *, writable: bool) -> dict[str, Any]:
        """Invite an address, or change its invitation.

        Raises:
            NotFound: if the owner has no such collection.
            InvalidRequest: if it is the owner's own address, or there are too many invitations and shares.
        """
        values = {"collection": collection_id, "owner": owner_id, "email": email}
        async with connected(self.pool) as connection, connection.transaction():
            await lock_collection(connection, owner_id, collection_id)
            if await fetch_one(connection, _IS_OWN, values) is not None:
                raise InvalidRequest("The collection is your own.")
            others = await fetch_one(connection, _OTHERS, values) or {}
            if others["number"] >= MAX_SHARES:
                raise InvalidRequest(f"A collection is shared with at most {MAX_SHARES} users.")
            return await fetch_one(connection, _INVITE, {**values, "id": uuid7(), "writable": writable}) or {}

    async def sent(self, owner_id: UUID, collection_id: UUID) -> list[dict[str, Any]]:
        """Return the invitations to a collection.

        Raises:
            NotFound: if the owner has no such collection.
        """
        async with connected(self.pool) as connection, connection.transaction():
            await lock_collection(connection, owner_id, collection_id)
            return await fetch_all(connection, _SENT, [collection_id])

    async def withdraw(self, owner_id: UUID, collection_id: UUID, invitation_id: UUID) -> None:
        """Withdraw an invitation.

        Raises:
            NotFound: if there is none.
        """
        if not await execute(self.pool, _WITHDRAW, [invitation_id, collection_id, owner_id]):
            raise NotFound(_NO_INVITATION)

    async def received(self, user_id: UUID) -> list[dict[str, Any]]:
        """Return the invitations of a user."""
        return await fetch_all(self.pool, _RECEIVED, [user_id, MAX_SHARES])

    async def accept(self, user_id: UUID, invitation_id: UUID) -> dict[str, Any]:
        """Turn an invitation into a share, and return the collection.

        Raises:
            NotFound: if the user has no such invitation.
            InvalidRequest: if too many collections are shared with the user.
        """
        values = {"id": invitation_id, "user": user_id}
        async with connected(self.pool) as connection, connection.transaction():
            collection = await fetch_one(connection, _LOCK_COLLECTION, values)
            if collection is None:
                raise NotFound(_NO_INVITATION)
            taken = await fetch_one(connection, _TAKEN, {**values, "collection": collection["id"]}) or {}
            if taken["number"] >= MAX_SHARES:
                raise InvalidRequest(f"At most {MAX_SHARES} collections are shared with a user.")
            share = await fetch_one(connection, _ACCEPT, values)
            if share is None:
                raise NotFound(_NO_INVITATION)
            return {**collection, **share}

    async def refuse(self, user_id: UUID, invitation_id: UUID) -> None:
        """Forget the user of an invitation, without telling the owner.

        Raises:
            NotFound: if the user has no such invitation.
        """
        if not await execute(self.pool, _REFUSE, [invitation_id, user_id]):
            raise NotFound(_NO_INVITATION)


def get_invitations(pool: PoolDep) -> CollectionInvitations:
    """Return the invitations to collections."""
    return CollectionInvitations(pool)


InvitationsDep = Annotated[CollectionInvitations, Depends(get_invitations)]
router = APIRouter(tags=["collections"], responses=error_responses(DatabaseUnavailable))


@router.post(
    "/collections/{collection_id}/invitations", status_code=201, responses=error_responses(NotFound, InvalidRequest)
)
async def invite(
    collection_id: UUID, body: CollectionInvitationBody, owner_id: CurrentOwner, invitations: InvitationsDep
) -> CollectionInvitationRead:
    """Invite the user with an e-mail address to a collection, or change the invitation.

    The answer is the same whether or not there is such a user. Invite a user again who registers later.
    """
    writable = body.access == "write"
    return CollectionInvitationRead(**await invitations.invite(owner_id, collection_id, body.email, writable=writable))


@router.get("/collections/{collection_id}/invitations", responses=error_responses(NotFound))
async def list_invitations(
    collection_id: UUID, owner_id: CurrentOwner, invitations: InvitationsDep
) -> CollectionInvitationList:
    """List the invitations to a collection that were not accepted."""
    found = await invitations.sent(owner_id, collection_id)
    return CollectionInvitationList(items=[CollectionInvitationRead(**row) for row in found])


@router.delete(
    "/collections/{collection_id}/invitations/{invitation_id}", status_code=204, responses=error_responses(NotFound)
)
async def withdraw_invitation(
    collection_id: UUID, invitation_id: UUID, owner_id: CurrentOwner, invitations: InvitationsDep
) -> None:
    """Withdraw an invitation to a collection."""
    await invitations.withdraw(owner_id, collection_id, invitation_id)


@router.get("/collection-invitations")
async def list_received_invitations(owner_id: CurrentOwner, invitations: InvitationsDep) -> ReceivedInvitations:
    """List the invitations to collections of other users that the caller received."""
    return ReceivedInvitations(items=[ReceivedInvitation(**row) for row in await invitations.received(owner_id)])


@router.post("/collection-invitations/{invitation_id}/accept", responses=error_responses(NotFound, InvalidRequest))
async def accept_invitation(invitation_id: UUID, owner_id: CurrentOwner, invitations: InvitationsDep) -> CollectionRead:
    """Accept an invitation. The owner of the collection then sees the caller's id."""
    return CollectionRead(**await invitations.accept(owner_id, invitation_id))


@router.delete("/collection-invitations/{invitation_id}", status_code=204, responses=error_responses(NotFound))
async def refuse_invitation(invitation_id: UUID, owner_id: CurrentOwner, invitations: InvitationsDep) -> None:
    """Refuse an invitation. The owner of the collection does not learn of it."""
    await invitations.refuse(owner_id, invitation_id)
