"""The texts by which a search finds an item, and their vectors."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.embeddings import Embeddings
from langgraph.store.base import PutOp
from langgraph.store.base.embed import get_text_at_path

from project3_rag_docs.settings import Settings
from shared.errors import InvalidRequest

_MAX_TEXT_LENGTH = 8_000  # characters; models read a few thousand at most
_MAX_FIELDS = 20  # in an item's `index`
_MAX_TEXTS = 100  # of one item
_WHOLE_ITEM = "$"


@dataclass(frozen=True, slots=True)
class IndexedText:
    """A text by which an item is found.

    Attributes:
        prefix: The item's namespace as it is stored.
        field: The text's path in the item, followed by a number if the path matches several texts.
        text: The text, truncated.
    """

    prefix: str
    key: str
    field: str
    text: str


def indexed_texts(puts: Sequence[PutOp], fields: Sequence[str] | None = None) -> list[IndexedText]:
    """Return the indexed texts of items, each field once. Of an item that is put twice, only the last put counts.

    Args:
        fields: The fields of items that name none themselves; None for the whole item.

    Raises:
        InvalidRequest: if an item has too many fields or texts.
    """
    last_puts = {(op.namespace, op.key): op for op in puts}
    indexed: dict[tuple[str, str, str], IndexedText] = {}
    for op in last_puts.values():
        if op.value is None or op.index is False:
            continue
        prefix = ".".join(op.namespace)
        for field, text in _field_texts(op.value, (fields or [_WHOLE_ITEM]) if op.index is None else op.index):
            indexed.setdefault((prefix, op.key, field), IndexedText(prefix, op.key, field, text[:_MAX_TEXT_LENGTH]))
    return list(indexed.values())


def _field_texts(value: Mapping[str, Any], paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    # `{a,b}` in a path names two fields, each of which may be the whole item.
    if sum(path.count(",") + 1 for path in paths) > _MAX_FIELDS:
        raise InvalidRequest(f"An item can be indexed by at most {_MAX_FIELDS} fields.")
    count = 0
    for path in dict.fromkeys(paths):
        texts = get_text_at_path(value, path)
        count += len(texts)
        if count > _MAX_TEXTS:
            raise InvalidRequest(f"An item can be indexed by at most {_MAX_TEXTS} texts.")
        for number, text in enumerate(texts):
            yield (f"{path}.{number}" if len(texts) > 1 else path), text


async def embed(embeddings: Embeddings, settings: Settings, prefix: str, texts: Sequence[str]) -> list[list[float]]:
    """Return the vectors of texts, truncated and in batches.

    Args:
        prefix: The model's prefix for this kind of text.

    Raises:
        ModelUnavailable, ModelTimeout: see `shared.errors`.
    """
    vectors: list[list[float]] = []
    for start in range(0, len(texts), settings.embedding_batch_size):
        batch = texts[start : start + settings.embedding_batch_size]
        vectors += await embeddings.aembed_documents([prefix + text[:_MAX_TEXT_LENGTH] for text in batch])
    return vectors
