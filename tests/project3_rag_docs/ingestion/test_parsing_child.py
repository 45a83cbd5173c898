"""Files that would take a service down with them, read in a process that may."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import uvloop

from project3_rag_docs.ingestion.parsing import ParseLimits, UnreadableDocument
from project3_rag_docs.ingestion.parsing.child import (
    ParseResult,
    _checked_report,
    _ChildResult,
    parse,
    read_chunks,
    write_chunks,
)
from project3_rag_docs.ingestion.parsing.media_types import MediaType
from tests.support import files
from tests.support.launched import assert_gone, clean_environment
from tests.support.until import until

SAMPLES = Path(__file__).parents[3] / "examples" / "documents"
MIB = 2**20
PRICES = ParseResult(2)  # of prices.csv
TOO_LONG = "Reading the document takes too long. Split it, or save it in a simpler format."
TOO_MUCH_MEMORY = "Reading the document takes too much memory. Split it."
CRASHED = "The document crashes the program that reads it."
DAMAGED = "The Word document cannot be read; it is damaged or incomplete."

PROGRAM = """
import asyncio, sys
from pathlib import Path
from project3_rag_docs.ingestion.parsing import ParseLimits, UnreadableDocument
from project3_rag_docs.ingestion.parsing.child import parse
from project3_rag_docs.ingestion.parsing.media_types import MediaType

print("main", __name__, flush=True)
async def main():
    try:
        print((await parse(Path(sys.argv[1]), MediaType(sys.argv[2]), ParseLimits(), Path(sys.argv[3]))).chunks)
    except UnreadableDocument as error:
        print(error.reason)
asyncio.run(main())
"""


def servers() -> list[psutil.Process]:
    alive = [process for process in psutil.Process().children() if process.status() != psutil.STATUS_ZOMBIE]
    return [process for process in alive if "multiprocessing.forkserver" in " ".join(process.cmdline())]


def children() -> list[psutil.Process]:
    return [child for server in servers() for child in server.children()]


def endless(path: Path) -> Path:
    """Make a file that is never read to its end: nobody writes to it."""
    os.mkfifo(path)
    return path


async def reason(path: Path, media_type: MediaType, limits: ParseLimits | None = None) -> str:
    into = path.with_name("chunks")
    with pytest.raises(UnreadableDocument) as refused:
        await parse(path, media_type, limits or ParseLimits(), into)
    assert not into.exists()
    assert children() == []
    return refused.value.reason


@pytest.mark.parametrize(
    ("name", "media_type", "page", "heading", "language", "term"),
    [
        ("handbook.md", MediaType.MARKDOWN, None, "Kestrin staff handbook", "en", "kestrin"),
        ("refund-policy.pdf", MediaType.PDF, 1, "Sending something back", "en", "refund"),
        ("员工手册.docx", MediaType.DOCX, None, "凯斯特林员工手册", "zh", "手册"),
        ("产品说明.txt", MediaType.TEXT, None, None, "zh", "滤芯"),
        ("prices.csv", MediaType.CSV, None, None, "en", "filter"),
        ("release-notes.html", MediaType.HTML, None, "Aria firmware", "en", "purifi"),
    ],
)
async def test_samples_are_parsed(
    tmp_path: Path, name: str, media_type: MediaType, page: int | None, heading: str | None, language: str, term: str
) -> None:
    into = tmp_path / "chunks"

    count, notice, _ = await parse(SAMPLES / name, media_type, ParseLimits(), into)

    chunks = list(read_chunks(into))
    assert len(chunks) == count > 0
    assert notice is None
    assert (chunks[0].page, chunks[0].heading, chunks[0].language) == (page, heading, language)
    assert chunks[0].terms[term] >= 1
    assert list(read_chunks(into, count - 1)) == chunks[-1:]
    assert list(read_chunks(into, count)) == []
    assert children() == []


async def test_child_writes_the_same_as_the_parent(tmp_path: Path) -> None:
    path = SAMPLES / "refund-policy.pdf"

    result = await parse(path, MediaType.PDF, ParseLimits(), tmp_path / "there")

    assert write_chunks(path, MediaType.PDF, ParseLimits(), tmp_path / "here") == result
    assert (tmp_path / "there").read_bytes() == (tmp_path / "here").read_bytes()


async def test_concurrent_parses_have_their_own_results(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.txt" for number in range(12)]
    for number, path in enumerate(paths):
        path.write_text(f"The number is {number}.")

    await asyncio.gather(*(parse(path, MediaType.TEXT, ParseLimits(), path.with_suffix(".chunks")) for path in paths))

    texts = [chunk.text for path in paths for chunk in read_chunks(path.with_suffix(".chunks"))]
    assert texts == [f"The number is {number}." for number in range(12)]


def test_parse_works_on_uvloop(tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        into = tmp_path / "chunks"
        assert runner.run(parse(SAMPLES / "prices.csv", MediaType.CSV, ParseLimits(), into)) == PRICES


async def test_file_without_text_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text(" \n\n")
    assert await reason(path, MediaType.TEXT) == "There is no text in the document."


async def test_loader_errors_are_passed_on(tmp_path: Path) -> None:
    path = files.image_pdf(tmp_path / "a")
    assert await reason(path, MediaType.PDF) == "The PDF has no text in it; it may be scanned images."
    path = files.pdf(path, ["Secret"], password="open sesame")
    assert await reason(path, MediaType.PDF) == "The PDF is protected by a password. Save it without one."
    path = files.pdf(path, ["Text"] * 3)
    assert await reason(path, MediaType.PDF, ParseLimits(pages=2)) == "The PDF has more than 2 pages."
    assert await reason(files.truncated(path), MediaType.PDF) == "The PDF cannot be read; it is damaged or incomplete."


async def test_missing_output_folder_is_a_crash(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDocument, match=f"^{CRASHED}$"):
        await parse(SAMPLES / "prices.csv", MediaType.CSV, ParseLimits(), tmp_path / "gone" / "chunks")


async def test_entities_are_not_expanded(tmp_path: Path) -> None:
    assert await reason(files.billion_laughs(tmp_path / "a"), MediaType.DOCX) == DAMAGED

    secret, into = tmp_path / "secret", tmp_path / "chunks"
    secret.write_text("the key of the house")
    path = files.external_entity(tmp_path / "b", secret, text="Seen.")
    await parse(path, MediaType.DOCX, ParseLimits(), into)
    assert [chunk.text for chunk in read_chunks(into)] == ["Seen."]


async def test_too_much_text_is_rejected(tmp_path: Path) -> None:
    path = files.one_line(tmp_path / "a", 3 * MIB)
    assert await reason(path, MediaType.TEXT, ParseLimits(characters=1_500_000)) == (
        "The document has more than 1,500,000 characters of text. Split it."
    )


async def test_too_much_time_is_rejected(tmp_path: Path) -> None:
    assert await reason(endless(tmp_path / "a"), MediaType.TEXT, ParseLimits(seconds=0.2)) == TOO_LONG
    busy = files.one_line(tmp_path / "b", 4 * MIB)
    assert await reason(busy, MediaType.TEXT, ParseLimits(seconds=0.2)) == TOO_LONG


async def test_too_much_memory_is_rejected(tmp_path: Path) -> None:
    path = files.zip_bomb(tmp_path / "a", 60 * MIB)
    assert await reason(path, MediaType.DOCX, ParseLimits(memory_bytes=100 * MIB)) == TOO_MUCH_MEMORY


@pytest.mark.parametrize("media_type", [MediaType.TEXT, MediaType.MARKDOWN, MediaType.HTML])
@pytest.mark.slow
async def test_fifty_megabytes_in_one_line_are_rejected(tmp_path: Path, media_type: MediaType) -> None:
    path = files.one_line(tmp_path / "a")
    assert await reason(path, media_type) == "The document has more than 5,000,000 characters of text. Split it."


@pytest.mark.slow
async def test_zip_bombs_do_not_load_the_service(tmp_path: Path) -> None:
    honest, lying = files.zip_bomb(tmp_path / "a"), files.lying_zip_bomb(tmp_path / "b")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    assert await reason(honest, MediaType.DOCX) == "The Word document is larger than 100 MiB when it is unpacked."
    assert await reason(honest, MediaType.DOCX, ParseLimits(unpacked_bytes=1024 * MIB)) == TOO_MUCH_MEMORY
    assert await reason(lying, MediaType.DOCX) == DAMAGED

    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024  # KiB


@pytest.mark.parametrize(
    ("report", "exitcode", "timed_out", "expected"),
    [
        (b"", -signal.SIGXCPU, False, TOO_LONG),
        (b"", -signal.SIGSEGV, False, CRASHED),
        (b"", None, True, TOO_LONG),
        (b'{"chunks": 3}', 0, True, TOO_LONG),
    ],
)
def test_end_of_a_child_is_explained(report: bytes, exitcode: int | None, timed_out: bool, expected: str) -> None:
    with pytest.raises(UnreadableDocument, match=f"^{expected}$"):
        _checked_report(_ChildResult(report, exitcode, timed_out))


async def test_processor_time_is_limited(tmp_path: Path) -> None:
    reading = asyncio.create_task(reason(endless(tmp_path / "a"), MediaType.TEXT, ParseLimits(seconds=30)))
    await until(lambda: bool(children()))
    (child,) = children()
    await until(lambda: child.rlimit(psutil.RLIMIT_DATA)[0] == 256 * MIB)

    assert child.rlimit(psutil.RLIMIT_CPU) == (30, 31)
    assert child.rlimit(psutil.RLIMIT_CORE) == (0, 0)
    assert child.rlimit(psutil.RLIMIT_FSIZE)[0] < 200 * MIB
    child.send_signal(signal.SIGXCPU)
    assert await reading == TOO_LONG


async def test_crashed_child_is_reported(tmp_path: Path) -> None:
    reading = asyncio.create_task(reason(endless(tmp_path / "a"), MediaType.TEXT))
    await until(lambda: bool(children()))
    children()[0].send_signal(signal.SIGSEGV)

    assert await reading == CRASHED


async def test_abandoned_parse_is_ended(tmp_path: Path) -> None:
    into = tmp_path / "chunks"
    reading = asyncio.create_task(parse(endless(tmp_path / "a"), MediaType.TEXT, ParseLimits(), into))
    await until(into.exists)

    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    assert children() == []
    assert not into.exists()


async def test_parse_cancelled_before_its_start_is_not_run(tmp_path: Path) -> None:
    path = endless(tmp_path / "a")
    reading = asyncio.create_task(parse(path, MediaType.TEXT, ParseLimits(), tmp_path / "chunks"))
    await asyncio.sleep(0)

    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await parse(SAMPLES / "prices.csv", MediaType.CSV, ParseLimits(), tmp_path / "other") == PRICES

    await until(lambda: children() == [])


async def test_killed_fork_server_is_restarted(tmp_path: Path) -> None:
    into = tmp_path / "chunks"
    assert await parse(SAMPLES / "prices.csv", MediaType.CSV, ParseLimits(), into) == PRICES
    (server,) = servers()
    reading = asyncio.create_task(reason(endless(tmp_path / "a"), MediaType.TEXT))
    await until(lambda: bool(children()))
    orphans = children()

    server.kill()
    assert await reading == CRASHED
    assert_gone(orphans)
    assert await parse(SAMPLES / "prices.csv", MediaType.CSV, ParseLimits(), into) == PRICES


@pytest.mark.slow
def test_killed_service_leaves_no_children(tmp_path: Path) -> None:
    path, into = endless(tmp_path / "a"), tmp_path / "chunks"
    command = [sys.executable, "-c", PROGRAM, str(path), MediaType.TEXT, str(into)]
    with subprocess.Popen(command, env=clean_environment(), stdout=subprocess.DEVNULL) as service:
        asyncio.run(until(into.exists))
        processes = psutil.Process(service.pid).children(recursive=True)
        assert len(processes) >= 2

        service.send_signal(signal.SIGKILL)
        service.wait()

        assert_gone(processes)


@pytest.mark.slow
def test_child_does_not_rerun_the_main_module(tmp_path: Path) -> None:
    package = tmp_path / "served"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PROGRAM)
    path = files.pdf(tmp_path / "a", ["Text"])
    environment = clean_environment()
    environment["PYTHONPATH"] += os.pathsep + str(tmp_path)
    command = [sys.executable, "-m", "served", str(path), MediaType.PDF, str(tmp_path / "chunks")]

    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)

    assert done.stdout.splitlines() == ["main __main__", "1"]
    assert done.stderr == ""
