"""Pages: what a query has found, one row more than is wanted, becomes a page and the way to the next."""

from dataclasses import dataclass, field
from uuid import UUID, uuid4

from shared.pagination import decode_cursor, split_page


@dataclass
class Row:
    id: UUID = field(default_factory=uuid4)


def test_page_knows_its_successor() -> None:
    rows = [Row(), Row(), Row()]

    assert split_page(rows[:2], 2) == (rows[:2], None)
    assert split_page([], 2) == ([], None)
    page, cursor = split_page(rows, 2)
    assert page == rows[:2]
    assert cursor is not None
    assert decode_cursor(cursor) == rows[1].id
