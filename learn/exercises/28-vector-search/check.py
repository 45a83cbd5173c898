import re
from types import ModuleType

from sqlalchemy.dialects import postgresql

_DISTANCE = r"\(?chunks\.embedding <=> %\(\w+\)s\)?"


def _sql(exercise: ModuleType) -> str:
    statement = exercise.nearest(7, [0.5] * 384, limit=3)
    return " ".join(str(statement.compile(dialect=postgresql.dialect())).split())


def test_similarity_is_one_minus_the_cosine_distance(exercise: ModuleType) -> None:
    columns = re.match(r"SELECT (.+?) FROM chunks", _sql(exercise))
    assert columns
    assert re.fullmatch(rf"chunks\.text, %\(\w+\)s(?:::\w+)? - {_DISTANCE} AS similarity", columns[1]), columns[1]


def test_only_passages_of_the_owner_are_searched(exercise: ModuleType) -> None:
    condition = re.search(r"WHERE (.+) ORDER BY", _sql(exercise))
    assert condition, "no WHERE: another user's documents would be found / 没有 WHERE：会查到别人的文档"
    assert "chunks.owner_id = %(owner_id_1)s" in condition[1]


def test_distant_passages_are_left_out(exercise: ModuleType) -> None:
    assert re.search(rf"{_DISTANCE} <= %\(\w+\)s", _sql(exercise))


def test_nearest_passages_come_first(exercise: ModuleType) -> None:
    assert re.search(rf"ORDER BY {_DISTANCE} LIMIT", _sql(exercise)), (
        "an HNSW index serves only ORDER BY distance LIMIT n / HNSW 索引只用于 ORDER BY 距离 LIMIT n"
    )


def test_values_are_parameters(exercise: ModuleType) -> None:
    values = exercise.nearest(7, [0.5] * 384, limit=3).compile(dialect=postgresql.dialect()).params.values()
    assert {7, 3, 0.5} <= {value for value in values if not isinstance(value, list)}
