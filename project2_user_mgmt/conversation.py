"""A user's conversation with the model: building the prompt, and storing the exchange."""

from collections.abc import Sequence
from uuid import UUID

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, trim_messages
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from project2_user_mgmt.models import Message, Role, User
from project2_user_mgmt.users import get_user
from shared.errors import NotFound

_MAX_MESSAGES = 100  # read for the context, of which `CONTEXT_TOKENS` usually keeps fewer


async def recent_messages(session: AsyncSession, user_id: UUID) -> Sequence[Message]:
    """Return a user's last messages, oldest first.

    Raises:
        NotFound: if the user does not exist.
    """
    await get_user(session, user_id)
    newest_first = await list_messages(session, user_id, before=None, limit=_MAX_MESSAGES)
    return newest_first[::-1]


async def list_messages(session: AsyncSession, user_id: UUID, *, before: UUID | None, limit: int) -> Sequence[Message]:
    """Return a user's messages with smaller ids than `before`, newest first."""
    query = select(Message).where(col(Message.user_id) == user_id).order_by(col(Message.id).desc()).limit(limit)
    if before is not None:
        query = query.where(col(Message.id) < before)
    return (await session.scalars(query)).all()


def prompt(system: str, history: Sequence[Message], question: str, context_tokens: int) -> list[BaseMessage]:
    """Build the prompt: the system prompt, the end of the conversation, and the question.

    Args:
        system: System prompt; always included.
        history: Conversation so far, oldest first.
        question: New question; always included.
        context_tokens: Maximum length of the history, in estimated tokens.
    """
    messages: list[BaseMessage] = [
        HumanMessage(message.content) if message.role == Role.USER else AIMessage(message.content)
        for message in history
    ]
    kept = trim_messages(
        messages, strategy="last", max_tokens=context_tokens, token_counter=count_tokens, start_on="human"
    )
    return [SystemMessage(system), *kept, HumanMessage(question)]


def count_tokens(messages: Sequence[BaseMessage]) -> int:
    """Estimate the tokens of messages; for most models and texts the estimate is an upper bound.

    A token has about four characters of Latin script; a character of most other scripts has one or two tokens. Exact
    counts need the tokenizer of each model, most of which have to be downloaded.
    """
    return sum(4 + sum(1 if ord(character) < 0x250 else 6 for character in message.text) // 4 for message in messages)


async def store_exchange(session: AsyncSession, user_id: UUID, question: str, answer: str) -> tuple[Message, Message]:
    """Store a question with its answer: both or neither.

    The lock of the user's row keeps concurrent exchanges in order, pair by pair, and stores none for a user who was
    deleted in the meantime.

    Raises:
        NotFound: if the user no longer exists.
    """
    locked = await session.scalar(select(col(User.id)).where(col(User.id) == user_id).with_for_update())
    if locked is None:
        raise NotFound("The user was deleted before the answer was there.")
    pair = (
        Message(user_id=user_id, role=Role.USER, content=question),
        Message(user_id=user_id, role=Role.ASSISTANT, content=answer),
    )
    session.add_all(pair)
    return pair
