"""Move credits between two accounts: both rows change, or neither does."""

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker


class Base(DeclarativeBase):
    """Collect the tables in `Base.metadata`."""


class Account(Base):
    """An account whose balance the database keeps from becoming negative."""

    __tablename__ = "accounts"
    __table_args__ = (CheckConstraint("credits >= 0"),)

    name: Mapped[str] = mapped_column(primary_key=True)
    credits: Mapped[int]


def transfer(sessions: sessionmaker[Session], source: str, target: str, amount: int) -> None:
    """Move `amount` credits in one transaction.

    Raises:
        ValueError: `amount` is not positive.
        NoResultFound: One of the accounts does not exist.
        IntegrityError: The source has too few credits.
    """
    # TODO: this is two transactions, so the target keeps the credits if the source has too few
    #       这里是两个事务：转出方余额不足时，转入方照样收到了
    with sessions() as session:
        session.get_one(Account, target).credits += amount
        session.commit()
        session.get_one(Account, source).credits -= amount
        session.commit()
