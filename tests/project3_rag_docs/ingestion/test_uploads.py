"""Files that mean no good, or that somebody broke: each ends in a 4xx, or in `failed` with a reason."""

import asyncio
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median

import httpx2
import psutil
import pytest

from project3_rag_docs.ingestion.upload import clean_filename
from tests.support import files
from tests.support.documents import finished, found, ready, upload
from tests.support.files import lying_zip_bomb, zip_bomb

Serve = Callable[..., AbstractContextManager[str]]
MIB = 2**20


@pytest.mark.slow
async def test_gigabyte_upload_is_rejected_at_the_limit(serve3: Serve) -> None:
    with serve3(max_upload_mb=5) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx2.URL(url).port)
        part = '--X\r\nContent-Disposition: form-data; name="file"; filename="zeros.txt"\r\n\r\n'
        head = "POST /documents HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=X\r\n"
        writer.write(f"{head}Transfer-Encoding: chunked\r\n\r\n{len(part):x}\r\n{part}\r\n".encode())
        answer = asyncio.create_task(reader.readuntil(b"\r\n"))
        sent = 0
        while sent < 1024 and not answer.done():
            writer.write(f"{MIB:x}\r\n".encode() + bytes(MIB) + b"\r\n")
            await writer.drain()
            await asyncio.sleep(0.01)  # to see the answer before the server is tired of dropping what comes after it
            sent += 1
        assert (await answer).startswith(b"HTTP/1.1 413")
        assert sent < 100
        writer.close()

        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            assert (await client.get("/documents")).json()["items"] == []
            declared = await client.post("/documents", files={"file": ("zeros.txt", bytes(6 * MIB))})
            assert declared.status_code == 413
            assert declared.json()["type"] == "urn:problem:body-too-large"
            assert (await upload(client, b"x" * (5 * MIB), "limit.txt"))["size_bytes"] == 5 * MIB
            other = await client.post("/documents/search", content=bytes(2 * MIB))
            assert other.status_code == 413  # the larger limit is that path's alone


@pytest.mark.slow
@pytest.mark.parametrize("make", [zip_bomb, lying_zip_bomb])
async def test_bomb_does_not_load_the_service(serve3: Serve, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    bomb = await asyncio.to_thread(make, tmp_path / "bomb.docx")
    content = bomb.read_bytes()
    with serve3() as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as client:
            await ready(client, "Something first, so that all is loaded.", "first.txt")
            before = memory()
            document = await upload(client, content, "bomb.docx")
            most, seconds = 0.0, list[float]()
            following = asyncio.create_task(finished(client, document))
            while not following.done():
                started = asyncio.get_running_loop().time()
                assert (await client.get("/health")).status_code == 200
                seconds.append(asyncio.get_running_loop().time() - started)
                most = max(most, memory())
                await asyncio.sleep(0.02)
            failed = following.result()

    assert failed["status"] == "failed"
    assert failed["error"]
    assert most - before < 300 * MIB
    assert median(seconds) < 1  # a machine may be slow now and then; a blocked loop is slow all the time


@pytest.mark.slow
async def test_broken_files_reach_a_final_status(client3: httpx2.AsyncClient, tmp_path: Path) -> None:
    """Truncated, empty, misnamed, locked, scanned, with NUL bytes, in two encodings, in one line of 50 MB."""
    path = tmp_path / "file"
    good = files.pdf(path, ["A good page."]).read_bytes()
    failing = {
        "truncated.pdf": files.truncated(files.pdf(path, ["A page."] * 20)).read_bytes(),
        "locked.pdf": files.pdf(path, ["A page."], password="secret").read_bytes(),
        "scanned.pdf": files.image_pdf(path).read_bytes(),
        "blank.txt": b" \n" * 1000,
        "line.txt": files.one_line(path, 49 * MIB).read_bytes(),
        "mixed.txt": files.mixed_encodings(path).read_bytes(),
        "laughs.docx": files.billion_laughs(path).read_bytes(),
    }
    for name, content in failing.items():
        document = await finished(client3, await upload(client3, content, name))
        assert (document["status"], name) == ("failed", name)
        assert document["error"].endswith(".")
    for name, content in {"nul.txt": b"a\0b" * 100, "pdf.docx": b"no zip"}.items():
        assert (await client3.post("/documents", files={"file": (name, content)})).status_code == 415
    assert (await ready(client3, good, "named.txt"))["media_type"] == "application/pdf"
    assert (await found(client3, "good page"))[0]["page"] == 1
    assert (await client3.get("/health")).status_code == 200


async def test_empty_file_is_refused(client3: httpx2.AsyncClient) -> None:
    answer = await client3.post("/documents", files={"file": ("empty.txt", b"")})
    assert (answer.status_code, answer.json()["detail"]) == (422, "The file is empty.")


async def test_same_text_is_another_document_as_a_table(client3: httpx2.AsyncClient) -> None:
    content = b"article,price\nKettle,20\nIron,30\n"

    text = await ready(client3, content, "prices.txt")
    table = await ready(client3, content, "prices.csv")
    again = await client3.post("/documents", files={"file": ("again.csv", content)})

    assert (text["media_type"], table["media_type"]) == ("text/plain", "text/csv")
    assert text["id"] != table["id"]
    assert (again.status_code, again.json()["id"]) == (200, table["id"])


def memory() -> float:
    """Bytes that this process and all that it has started hold in memory."""
    me = psutil.Process(os.getpid())
    total = 0.0
    for process in [me, *me.children(recursive=True)]:
        try:
            if "postgres" not in process.name():
                total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a/b/c.txt", "c.txt"),
        ("C:\\docs\\c.txt", "c.txt"),
        ("..", ".."),
        ("", "unnamed"),
        ("/", "unnamed"),
        ("a\0b\n\u202ec.txt", "abc.txt"),
        ("é".encode().decode("latin-1"), "Ã©"),
        ("\udcff.txt", "?.txt"),
        ("x" * 300 + ".pdf", "x" * 251 + ".pdf"),
        ("x" * 300, "x" * 255),
    ],
)
def test_filename_is_reduced_to_a_name(given: str, kept: str) -> None:
    assert clean_filename(given) == kept
