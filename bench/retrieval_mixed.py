"""Questions across languages, and without an answer: `python -m bench.retrieval_mixed ENGLISH CHINESE`.

The files are parallel collections, as for `bench.retrieval`. A third of the passages is uploaded in English, a third in
Chinese, and the rest not at all, together with generated tables and noise. The questions of all passages are searched
in both languages, and a sample is put to `/documents/ask`, which the embedded model server answers.
"""

import argparse
import asyncio
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # for `python bench/retrieval_mixed.py`

import httpx2

from bench.databases import embedded, migrated_database, postgresql
from bench.retrieval import Collection
from bench.servers import running
from local.services import model_server

_PACKAGE = "project3_rag_docs"
_ENVIRONMENT = {"LOG_LEVEL": "WARNING", "USER_DOCUMENTS_WAITING_MAX": "10000"}  # the whole collection at once
_SUBJECT = 5  # neighbouring passages, which come from the same article
_TABLES, _NOISE = 70, 70
_FIRST = 5
_TABLE_WORDS = (("part,stock,price", "pump valve filter gasket"), ("零件,库存,单价", "水泵 阀门 滤芯 垫圈"))


@dataclass
class _Result:
    """Counts for questions in one language with a passage in one language, or without any."""

    asked: int = 0
    found: int = 0
    accepted: int = 0  # by the score of the best hit
    answers: list[bool] = field(default_factory=list)  # whether a question to the embedded model has an answer

    def row(self) -> list[str]:
        """Format the shares."""
        answered = f"{sum(self.answers) / len(self.answers):.2f}" if self.answers else ""
        return [str(self.asked), f"{self.found / self.asked:.3f}", f"{1 - self.accepted / self.asked:.3f}", answered]


def place_of(passage: int) -> int:
    """Return the collection that has a passage: 0, 1, or 2 for none."""
    return passage // _SUBJECT % 3


def _files(collections: Sequence[Collection]) -> Iterator[tuple[str, str]]:
    for number, collection in enumerate(collections):
        for passage, text in enumerate(collection.passages):
            if place_of(passage) == number:
                yield f"{collection.name}-{passage}.txt", text
    chance = random.Random(7)  # noqa: S311  the same tables each time
    for number in range(_TABLES):
        header, goods = _TABLE_WORDS[number % 2]
        rows = [f"{good},{chance.randrange(900)},{chance.random() * 90:.2f}" for good in goods.split() for _ in "12345"]
        yield f"table-{number}.csv", "\n".join([header, *rows])
    for number in range(_NOISE):
        menu = "Home | About | Contact | Login" if number % 2 else "首页 | 关于我们 | 联系我们"
        badge = "[![build](https://img.shields.io/badge/build-passing.svg)](https://ci.example)"
        yield f"noise-{number}.md", f"{menu}\n\n{badge}\n\n........ {number}\n\n</a> \uffff log {number:04}\n"


async def _upload(client: httpx2.AsyncClient, files: Iterator[tuple[str, str]]) -> None:
    ids = []
    for file in files:
        answer = await client.post("/documents", files={"file": (file[0], file[1].encode())})
        ids.append(answer.raise_for_status().json()["id"])
    for document_id in ids:
        await client.get(f"/documents/{document_id}/events")


async def _measure(client: httpx2.AsyncClient, collections: Sequence[Collection], step: int, sample: int) -> None:
    print("| questions | passages | asked | in the first five | refused by score | answered by the embedded model |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    for asked in collections:
        results = [_Result() for _ in range(3)]
        for number in range(0, len(asked.queries), step):
            passage = asked.relevant[number][0]
            result = results[place_of(passage)]
            await _ask(client, result, asked.queries[number], _name(collections, passage), sample)
        for place, result in enumerate(results):
            name = collections[place].name if place < 2 else "none"
            print(f"| {' | '.join([asked.name, name, *result.row()])} |", flush=True)


def _name(collections: Sequence[Collection], passage: int) -> str | None:
    place = place_of(passage)
    return f"{collections[place].name}-{passage}.txt" if place < 2 else None


async def _ask(client: httpx2.AsyncClient, result: _Result, query: str, wanted: str | None, sample: int) -> None:
    search: dict[str, Any] = {"query": query, "k": _FIRST}
    hits = (await client.post("/documents/search", json=search)).raise_for_status().json()["hits"]
    result.asked += 1
    result.found += wanted in [hit["filename"] for hit in hits]
    result.accepted += any(hit["score"] >= 0.5 for hit in hits)
    if len(result.answers) < sample:
        answer = (await client.post("/documents/ask", json={"question": query})).raise_for_status().json()
        result.answers.append(bool(answer["citations"]))


async def main() -> None:
    """Read the files, and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench.retrieval_mixed", description=__doc__)
    parser.add_argument("files", nargs=2, type=Path, metavar="FILE")
    parser.add_argument("--step", type=int, default=1, metavar="N", help="every Nth question")
    parser.add_argument("--answers", type=int, default=20, metavar="N", help="of each kind")
    arguments = parser.parse_args()
    collections = [Collection.read(path) for path in arguments.files]
    async with postgresql() as server, embedded(model_server) as model:
        with migrated_database(server, "bench_mixed", _PACKAGE) as address:
            environment = model | _ENVIRONMENT | {"DATABASE_URL": address}
            with running(_PACKAGE, environment=environment) as service:
                url = f"http://127.0.0.1:{service.port}"
                async with httpx2.AsyncClient(base_url=url, timeout=600, trust_env=False) as client:
                    await _upload(client, _files(collections))
                    await _measure(client, collections, arguments.step, arguments.answers)


if __name__ == "__main__":
    asyncio.run(main())
