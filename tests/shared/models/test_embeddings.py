"""Embedding endpoints with limits and differences from OpenAI's."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from loguru import logger
from pydantic import SecretStr

from project1_qa_api.settings import Settings
from shared.errors import InputFilteredByModel, InputTooLongForModel, ModelMisconfigured, ModelUnavailable
from shared.models.client import create_http_client
from shared.models.embeddings import EndpointEmbeddings, create_embeddings
from tests.support import embedding_endpoint
from tests.support.embedding_endpoint import endpoint
from tests.support.scripted_model import ScriptedModel, embedding_of, fails, sends_json
from tests.support.scripted_model.connection import Connection

Create = Callable[..., EndpointEmbeddings]
TEXTS = [f"text number {number}" for number in range(16)]


@pytest.fixture
async def create(model: ScriptedModel, make_settings: Callable[..., Settings]) -> AsyncIterator[Create]:
    """Creates an embedding model in front of the scripted one."""
    settings = make_settings()
    async with create_http_client(settings) as http:

        def make(dimensions: int = 384, **options: Any) -> EndpointEmbeddings:
            key = SecretStr("")
            return create_embeddings(
                settings, http, model="e", base_url=model.base_url, api_key=key, dimensions=dimensions, **options
            )

        yield make


def assert_alike(vector: list[float], other: list[float], cosine: float = 0.999) -> None:
    assert sum(a * b for a, b in zip(vector, other, strict=True)) >= cosine


class TestLength:
    @pytest.mark.parametrize(
        "too_long",
        [embedding_endpoint.OPENAI_TOO_LONG, embedding_endpoint.TEI_TOO_LONG, embedding_endpoint.LLAMA_TOO_LONG],
        ids=["openai", "tei", "llama.cpp"],
    )
    async def test_long_text_is_split(
        self, create: Create, model: ScriptedModel, too_long: embedding_endpoint.Refusal
    ) -> None:
        model.embeds(endpoint(max_characters=120, too_long=too_long))
        long = "A heron stands in the water. It waits for fish! Does it wait long? Longer than the others. " * 4
        texts = [*TEXTS[:5], long, *TEXTS[5:]]

        vectors = await create().aembed_documents(texts)

        assert len(vectors) == len(texts)
        for text, vector in zip(texts, vectors, strict=True):
            assert_alike(vector, embedding_of(text), 0.97)
            assert math.hypot(*vector) == pytest.approx(1)

    async def test_parts_keep_prefix_and_words(self, create: Create, model: ScriptedModel) -> None:
        model.embeds(endpoint(max_characters=60))
        content = "one sentence is here. another sentence is there. and a third one follows them."

        await create(prefixes=("passage: ",)).aembed_documents(["passage: " + content])

        parts = [request.body["input"] for request in model.embedded][-1]
        assert [part.startswith("passage: ") for part in parts] == [True, True]
        assert "".join(part.removeprefix("passage: ") for part in parts) == content
        assert parts[0].endswith(". ")

    async def test_mean_is_weighted_by_length(self, create: Create, model: ScriptedModel) -> None:
        model.embeds(endpoint(max_characters=20))
        text = "aaaaaaaaaaaaaaa bb"

        (vector,) = await create().aembed_documents([text + " cccc"])

        assert_alike(vector, embedding_of(text + " cccc"), 0.9)

    async def test_splitting_is_bounded(self, create: Create, model: ScriptedModel) -> None:
        model.embeds(endpoint(max_characters=0))

        with pytest.raises(InputTooLongForModel):
            await create().aembed_documents(["word " * 2_000])

        assert len(model.embedded) < 100

    async def test_short_query_is_not_split(self, create: Create, model: ScriptedModel) -> None:
        model.embeds(endpoint(max_characters=0))

        with pytest.raises(InputTooLongForModel):
            await create().aembed_query("x")


class TestBatch:
    @pytest.mark.parametrize(
        ("limit", "too_many"),
        [(10, embedding_endpoint.DASHSCOPE_BATCH), (4, embedding_endpoint.TEI_BATCH)],
        ids=["dashscope", "tei"],
    )
    async def test_stated_limit_is_kept(
        self, create: Create, model: ScriptedModel, limit: int, too_many: embedding_endpoint.Refusal
    ) -> None:
        model.embeds(endpoint(max_batch=limit, too_many=too_many))
        embeddings = create()

        first = await embeddings.aembed_documents(TEXTS)
        refused = len(model.embedded)
        second = await embeddings.aembed_documents(TEXTS)

        assert [[round(number, 6) for number in vector] for vector in first] == [
            [round(number, 6) for number in embedding_of(text)] for text in TEXTS
        ]
        assert second == first
        sizes = [len(request.body["input"]) for request in model.embedded]
        assert max(sizes[refused:]) <= limit
        assert sizes.count(16) == 1

    async def test_batch_of_too_many_tokens_is_halved(self, create: Create, model: ScriptedModel) -> None:
        model.embeds(endpoint(max_batch=5, too_many=embedding_endpoint.MISTRAL_BATCH))

        assert len(await create().aembed_documents(TEXTS)) == 16

    async def test_missing_vectors_are_requested_again(self, create: Create, model: ScriptedModel) -> None:
        model.embeds(endpoint(arrange=lambda items: items[:4]))

        vectors = await create().aembed_documents(TEXTS)

        for text, vector in zip(TEXTS, vectors, strict=True):
            assert_alike(vector, embedding_of(text))

    async def test_no_vector_at_all_is_an_invalid_response(self, create: Create, model: ScriptedModel) -> None:
        model.embeds(endpoint(arrange=lambda items: items[:0]))

        with pytest.raises(ModelUnavailable):
            await create().aembed_documents(TEXTS)


class TestForm:
    @pytest.mark.parametrize("sent", ['{"data": []}', '{"data": [{"index": 0, "embedding": null}]}', '{"data": null}'])
    async def test_encoding_without_vectors_is_left_out(self, create: Create, model: ScriptedModel, sent: str) -> None:
        async def behaviour(connection: Connection) -> None:  # plastic-labs/honcho#938
            if "encoding_format" in connection.seen.body:
                await connection.respond(200, sent.encode(), "application/json")
            else:
                await endpoint()(connection)

        model.embeds(behaviour)
        embeddings = create()

        await embeddings.aembed_documents(TEXTS)
        vectors = await embeddings.aembed_documents(TEXTS[:1])

        assert_alike(vectors[0], embedding_of(TEXTS[0]))
        assert ["encoding_format" in request.body for request in model.embedded] == [True, False, False]

    async def test_order_is_that_of_the_indices(self, create: Create, model: ScriptedModel) -> None:
        model.embeds(endpoint(arrange=lambda items: items[::-1]))

        vectors = await create().aembed_documents(TEXTS)

        for text, vector in zip(TEXTS, vectors, strict=True):
            assert_alike(vector, embedding_of(text))

    @pytest.mark.parametrize("index", [0, None])
    async def test_useless_indices_are_ignored(self, create: Create, model: ScriptedModel, index: int | None) -> None:
        model.embeds(endpoint(arrange=lambda items: [item | {"index": index} for item in items]))

        vectors = await create().aembed_documents(TEXTS)

        for text, vector in zip(TEXTS, vectors, strict=True):
            assert_alike(vector, embedding_of(text))

    @pytest.mark.parametrize(
        "words",
        ["Unsupported parameter: 'encoding_format'", "encoding_format base64 is not supported, only float"],
    )
    async def test_refused_encoding_is_left_out(self, create: Create, model: ScriptedModel, words: str) -> None:
        model.embeds(endpoint(refuses={"encoding_format": words}))
        embeddings = create()

        await embeddings.aembed_documents(TEXTS[:1])
        vectors = await embeddings.aembed_documents(TEXTS[:1])

        assert_alike(vectors[0], embedding_of(TEXTS[0]))
        assert ["encoding_format" in request.body for request in model.embedded] == [True, False, False]

    @pytest.mark.parametrize("numbers", [[math.nan] * 384, [None] * 384, "no base64!", "AAA=", [], {"a": 1}])
    async def test_vector_without_numbers_is_an_invalid_response(
        self, create: Create, model: ScriptedModel, numbers: object
    ) -> None:
        model.embeds(sends_json({"data": [{"index": 0, "embedding": numbers}]}))

        with pytest.raises(ModelUnavailable):
            await create().aembed_query("x")

    async def test_error_in_a_successful_response_is_raised(self, create: Create, model: ScriptedModel) -> None:
        model.embeds(sends_json({"code": 20012, "message": "Model does not exist", "data": None}))

        with pytest.raises(ModelMisconfigured):
            await create().aembed_query("x")

    async def test_filtered_text_is_the_callers(self, create: Create, model: ScriptedModel) -> None:
        model.embeds(fails(400, error={"code": "data_inspection_failed", "message": "inappropriate content"}))

        with pytest.raises(InputFilteredByModel):
            await create().aembed_documents(TEXTS)

        assert len(model.embedded) == 1

    async def test_extra_fields_are_sent(self, create: Create, model: ScriptedModel) -> None:
        await create(extra_body={"truncate": "END", "encoding_format": None}).aembed_query("x")

        (request,) = model.embedded
        assert request.body == {"model": "e", "input": ["x"], "truncate": "END"}


class TestDimensions:
    async def test_endpoint_is_asked_for_shorter_vectors(self, create: Create, model: ScriptedModel) -> None:
        model.embeds(endpoint(dimensions=4096, shortens=True))
        embeddings = create(1024, matryoshka=None)

        await embeddings.aembed_documents(["x"])
        (vector,) = await embeddings.aembed_documents(["x"])

        assert len(vector) == 1024
        assert [request.body.get("dimensions") for request in model.embedded] == [None, 1024, 1024]

    async def test_concurrent_calls_all_get_shorter_vectors(self, create: Create, model: ScriptedModel) -> None:
        model.embeds(endpoint(dimensions=4096, shortens=True))
        embeddings = create(1024, matryoshka=None)

        vectors = await asyncio.gather(*(embeddings.aembed_query(text) for text in TEXTS))

        assert {len(vector) for vector in vectors} == {1024}

    @pytest.mark.parametrize(
        "words",
        [
            'Model "e" does not support matryoshka representation, changing output dimensions will lead to …',
            "This model does not support specifying dimensions.",
        ],
    )
    async def test_vectors_are_not_shortened_against_the_endpoints_will(
        self, create: Create, model: ScriptedModel, words: str
    ) -> None:
        model.embeds(endpoint(dimensions=4096, refuses={"dimensions": words}))

        with pytest.raises(ModelMisconfigured, match="vectors of length 4096; 1024 expected") as caught:
            await create(1024, matryoshka=None).aembed_documents(["x"])

        assert caught.value.headers is None

    async def test_declared_model_is_shortened_here_if_need_be(self, create: Create, model: ScriptedModel) -> None:
        model.embeds(endpoint(dimensions=4096))

        (vector,) = await create(1024, matryoshka=True).aembed_documents(["some words that have places"])

        assert len(vector) == 1024
        assert math.hypot(*vector) == pytest.approx(1)

    @pytest.mark.parametrize(("dimensions", "matryoshka"), [(4096, False), (256, None), (256, True)])
    async def test_other_length_is_refused(
        self, create: Create, model: ScriptedModel, dimensions: int, matryoshka: bool | None
    ) -> None:
        model.embeds(endpoint(dimensions=dimensions, shortens=True))
        lines: list[str] = []
        sink = logger.add(lines.append, format="{level} {message}", level="ERROR")

        with pytest.raises(ModelMisconfigured):
            await create(1024, matryoshka=matryoshka).aembed_documents(["x"])

        logger.remove(sink)
        assert lines == [f"ERROR e returns vectors of length {dimensions}; 1024 expected.\n"]
