from types import ModuleType

from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

_DIALECT = postgresql.dialect()
_ROWS = [{"id": 1, "text": "one", "embedding": [0.5] * 384}, {"id": 2, "text": "two", "embedding": [0.25] * 384}]


def test_embedding_is_a_vector_of_384_numbers(exercise: ModuleType) -> None:
    sql = str(CreateTable(exercise.Chunk.__table__).compile(dialect=_DIALECT))
    assert "embedding VECTOR(384) NOT NULL" in sql


def test_index_is_hnsw_for_cosine_distance(exercise: ModuleType) -> None:
    indexes = [str(CreateIndex(index).compile(dialect=_DIALECT)) for index in exercise.Chunk.__table__.indexes]
    assert any("ON chunks USING hnsw (embedding vector_cosine_ops)" in sql for sql in indexes), indexes


def test_rows_are_inserted_in_one_statement(exercise: ModuleType) -> None:
    compiled = exercise.upsert(_ROWS).compile(dialect=_DIALECT)
    assert str(compiled).startswith("INSERT INTO chunks (id, text, embedding) VALUES (")
    assert [compiled.params[f"text_m{number}"] for number in range(2)] == ["one", "two"]


def test_existing_row_is_replaced(exercise: ModuleType) -> None:
    sql = " ".join(str(exercise.upsert(_ROWS).compile(dialect=_DIALECT)).split())
    assert sql.endswith("ON CONFLICT (id) DO UPDATE SET text = excluded.text, embedding = excluded.embedding")
