"""A user's conversation with the model: what the model is shown, and what is stored."""

from collections.abc import Sequence
from uuid import UUID

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, trim_messages
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from project2_user_mgmt.models import Message, Role, User
from project2_user_mgmt.users import get_user
from shared.errors import NotFound

_MOST_MESSAGES = 100  # read for the context; the tokens usually end it before


async def recent_messages(session: AsyncSession, user_id: UUID) -> Sequence[Message]:
    """Return a user's last messages, oldest first.

    Raises:
        NotFound: if there is no such user.
    """
    await get_user(session, user_id)
    newest_first = await list_messages(session, user_id, before=None, limit=_MOST_MESSAGES)
    return newest_first[::-1]


async def list_messages(session: AsyncSession, user_id: UUID, *, before: UUID | None, limit: int) -> Sequence[Message]:
    """Return a user's messages, newest first.

    Args:
        session: For the query.
        user_id: Whose.
        before: Only messages before this id.
        limit: At most so many.
    """
    query = select(Message).where(col(Message.user_id) == user_id).order_by(col(Message.id).desc()).limit(limit)
    if before is not None:
        query = query.where(col(Message.id) < before)
    return (await session.scalars(query)).all()


def prompt(system: str, history: Sequence[Message], question: str, context_tokens: int) -> list[BaseMessage]:
    """Return what the model is shown: the system prompt, as much of the end of the conversation as fits, the question.

    Args:
        system: The system prompt; always there.
        history: The conversation so far, oldest first.
        question: The new question; always there.
        context_tokens: How much of the history may be shown, in tokens, about.
    """
    said: list[BaseMessage] = [
        HumanMessage(message.content) if message.role == Role.USER else AIMessage(message.content)
        for message in history
    ]
    kept = trim_messages(said, strategy="last", max_tokens=context_tokens, token_counter=count_tokens, start_on="human")
    return [SystemMessage(system), *kept, HumanMessage(question)]


def count_tokens(messages: Sequence[BaseMessage]) -> int:
    """Estimate the tokens of messages, from above for most models and texts.

    About four characters of Latin script are a token, and a character of most other scripts is one or two. A model's
    own tokenizer would say exactly, but each model has another, and most have to be downloaded.
    """
    return sum(4 + sum(1 if ord(character) < 0x250 else 6 for character in message.text) // 4 for message in messages)


async def store_exchange(session: AsyncSession, user_id: UUID, question: str, answer: str) -> tuple[Message, Message]:
    """Store a question with its answer: both or neither.

    The user's row is locked first, so that of two questions that are answered at once one pair stands after the other,
    and none is stored for a user who was deleted meanwhile.

    Raises:
        NotFound: if the user is there no more.
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
