"""A user's conversation: send a message to the model, and list the messages."""

from uuid import UUID

from fastapi import APIRouter, Request

from project1_qa_api.answering import AnswererDep
from project2_user_mgmt import conversation
from project2_user_mgmt.schemas import Exchange, MessageCreate, MessagePage, MessageRead
from project2_user_mgmt.users import get_user
from shared.database.engine import ReadSessionDep, SessionsDep, transaction
from shared.errors import MODEL_ERRORS, DatabaseUnavailable, NotFound
from shared.pagination import PageCursor, PageSize, decode_cursor, split_page
from shared.problems import error_responses
from shared.streaming import cancel_on_disconnect

router = APIRouter(prefix="/users/{user_id}/messages", tags=["messages"])


@router.post(
    "",
    status_code=201,
    responses=error_responses(NotFound, *MODEL_ERRORS, DatabaseUnavailable),
)
async def create_message(
    user_id: UUID, body: MessageCreate, request: Request, sessions: SessionsDep, answerer: AnswererDep
) -> Exchange:
    """Ask the model with the user's last messages as context, and store question and answer together."""
    settings = request.app.state.settings
    async with transaction(sessions) as session:
        history = await conversation.recent_messages(session, user_id)
    # No connection is held while waiting for the model.
    messages = conversation.prompt(settings.system_prompt, history, body.content, settings.context_tokens)
    async with cancel_on_disconnect(request):
        answer = await answerer.chat_model.ainvoke(messages)
    async with transaction(sessions) as session:
        question, reply = await conversation.store_exchange(session, user_id, body.content, answer.text)
    return Exchange(question=MessageRead.model_validate(question), answer=MessageRead.model_validate(reply))


@router.get("", responses=error_responses(NotFound, DatabaseUnavailable))
async def list_messages(
    user_id: UUID, session: ReadSessionDep, limit: PageSize = 20, cursor: PageCursor = None
) -> MessagePage:
    """List a user's messages page by page, newest first."""
    await get_user(session, user_id)
    before = decode_cursor(cursor) if cursor else None
    found = await conversation.list_messages(session, user_id, before=before, limit=limit + 1)
    page, next_cursor = split_page(found, limit)
    return MessagePage(items=[MessageRead.model_validate(message) for message in page], next_cursor=next_cursor)
