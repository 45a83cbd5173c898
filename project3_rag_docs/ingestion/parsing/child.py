"""Reads a file in a process of its own, so that no file can take the service's time, memory or life.

A server process that has imported what is needed forks one child for each document: some milliseconds, where a new
interpreter would take half a second. The child limits itself before it looks at the file, and is killed when its time
is over, when nobody waits for it any more, and when the service ends in whatever way.
"""

import asyncio
import json
import logging
import math
import multiprocessing
import os
import resource
import signal
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import NamedTuple

from langchain_core.documents import Document
from loguru import logger

from project3_rag_docs.ingestion.chunking import chunks_of, in_context
from project3_rag_docs.ingestion.parsing import Limits, UnreadableDocument
from project3_rag_docs.ingestion.parsing.loaders import loader_for
from project3_rag_docs.ingestion.parsing.media_types import MediaType
from project3_rag_docs.search.lexical import analyse

__all__ = ["Limits", "ParsedChunk", "UnreadableDocument", "parse", "read_chunks"]

_CONTEXT = multiprocessing.get_context("forkserver")
_ONE_AT_A_TIME = threading.Lock()  # starting a process, and asking how one ended, both look at all of them
_REPORT_BYTES = 4096  # less than a pipe takes without anybody reading it

_TOO_LONG = "Reading the document takes too long. Split it, or save it in a simpler format."
_TOO_MUCH_MEMORY = "Reading the document takes more memory than it may have. Split it."
_CRASHED = "The document makes the program that reads it fail."
_NO_TEXT = "There is no text in the document."


@dataclass(frozen=True)
class ParsedChunk:
    """A passage of a document, with what is needed to find it by its words.

    Attributes:
        text: As it stands in the document.
        page: From 1, where the document has pages.
        heading: The path to it, such as "Guide > Install".
        language: That of the text and its heading, as `Language` names it.
        terms: How often each term occurs in these.
    """

    text: str
    page: int | None
    heading: str | None
    language: str
    terms: dict[str, int]


async def parse(path: Path, media_type: MediaType, limits: Limits, into: Path) -> int:
    """Read a file into chunks, in a process of its own.

    Args:
        path: The file.
        media_type: What it is.
        limits: What it may cost.
        into: Where the chunks are written, one JSON object a line, for `read_chunks`. Removed again on failure.

    Returns:
        How many chunks there are.

    Raises:
        UnreadableDocument: if the file cannot be read, within these limits.
    """
    with _removed_on_failure(into):
        return _number_of_chunks(await _run(path, media_type, limits, into))


def read_chunks(path: Path, start: int = 0) -> Iterator[ParsedChunk]:
    """Yield what `parse` has written, one after the other.

    Args:
        path: `parse`'s `into`.
        start: How many to leave out.
    """
    with path.open(encoding="utf-8") as lines:
        for line in islice(lines, start, None):
            yield ParsedChunk(**json.loads(line))


@contextmanager
def _removed_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


class _End(NamedTuple):
    """How a child ended.

    Attributes:
        report: What it said last: the number of chunks, or why there are none. Nothing if it was ended.
        exitcode: Its exit status, or the number of the signal that ended it, negative.
        timed_out: Whether it was this process that ended it, for its time was over.
    """

    report: bytes
    exitcode: int | None
    timed_out: bool


def _number_of_chunks(end: _End) -> int:
    """Return what a child has counted.

    Raises:
        UnreadableDocument: with the reason that it said, or that its end suggests.
    """
    if end.report and not end.timed_out:
        report = json.loads(end.report)
        if "chunks" in report:
            return int(report["chunks"])
        reason, cause = str(report["reason"]), report["cause"]
    elif end.timed_out or end.exitcode == -signal.SIGXCPU:
        reason, cause = _TOO_LONG, "time"
    else:
        reason, cause = _CRASHED, f"exit status {end.exitcode}"
    logger.info("a document cannot be read: {} ({})", reason, cause)
    raise UnreadableDocument(reason)


async def _run(path: Path, media_type: MediaType, limits: Limits, into: Path) -> _End:
    receiving, sending = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_child, args=(sending, path, media_type, limits, into), daemon=True)
    with receiving:
        await _started(process, sending)
        ended = timed_out = False
        try:
            async with asyncio.timeout(limits.seconds):
                await _ended(process)
            ended = True
        except TimeoutError:
            timed_out = True
        finally:
            if not ended:
                process.kill()
            exitcode = await asyncio.shield(asyncio.to_thread(_reap, process))
        # No process has the other end any more, so this waits for nobody.
        return _End(os.read(receiving.fileno(), _REPORT_BYTES), exitcode, timed_out)


async def _started(process: ForkServerProcess, sending: Connection) -> None:
    """Start a child, in a thread: the first one has to wait for the server's imports.

    Where nobody waits for it any more, it is killed as soon as it is there.
    """
    starting = asyncio.ensure_future(asyncio.to_thread(_start, process, sending))
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(lambda started: None if started.exception() else process.kill())
        raise


def _start(process: ForkServerProcess, sending: Connection) -> None:
    with sending, _ONE_AT_A_TIME:
        _CONTEXT.set_forkserver_preload([__name__])
        process.start()


async def _ended(process: ForkServerProcess) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process.sentinel)


def _reap(process: ForkServerProcess) -> int | None:
    with _ONE_AT_A_TIME:
        process.join()
        exitcode = process.exitcode
        process.close()
    return exitcode


def _child(sending: Connection, path: Path, media_type: MediaType, limits: Limits, into: Path) -> None:
    """Be the child: read the file and report."""
    _limit_oneself(limits)
    _be_quiet()
    sys.modules["numpy"] = None  # type: ignore[assignment]  # openpyxl would import it: 85 MB and threads for nothing
    try:
        report: dict[str, object] = {"chunks": write_chunks(path, media_type, limits, into)}
    except UnreadableDocument as error:
        report = {"reason": error.reason, "cause": type(error.__cause__ or error).__name__}
    except MemoryError:
        report = {"reason": _TOO_MUCH_MEMORY, "cause": "MemoryError"}
    except Exception as error:  # noqa: BLE001  whatever it is, its traceback may hold the document's text
        report = {"reason": _CRASHED, "cause": type(error).__name__}
    os.write(sending.fileno(), json.dumps(report).encode()[:_REPORT_BYTES])


def write_chunks(path: Path, media_type: MediaType, limits: Limits, into: Path) -> int:
    """Do what `parse` does, in this process: no limit but those of pages, unpacked bytes and characters.

    Raises:
        UnreadableDocument: if the file cannot be read.
    """
    count = 0
    with into.open("w", encoding="utf-8") as lines:
        documents = _counted(loader_for(media_type, path, limits).lazy_load(), limits.characters)
        for chunk in chunks_of(documents):
            analysis = analyse(in_context(chunk.heading, chunk.text))
            parsed = ParsedChunk(chunk.text, chunk.page, chunk.heading, analysis.language, dict(analysis.terms))
            lines.write(json.dumps(asdict(parsed), ensure_ascii=False) + "\n")
            count += 1
    if not count:
        raise UnreadableDocument(_NO_TEXT)
    return count


def _counted(documents: Iterable[Document], most: int) -> Iterator[Document]:
    total = 0
    for document in documents:
        total += len(document.page_content)
        if total > most:
            raise UnreadableDocument(f"The document has more than {most:,} characters of text. Split it.")
        yield document


def _limit_oneself(limits: Limits) -> None:
    """See to it that this process ends in time, takes no more than its share, and does not outlive the service."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the service ends this process
    threading.Thread(target=_die_with_the_service, daemon=True).start()
    seconds = math.ceil(limits.seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (written := 32 * limits.characters + 2**20, written))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))


def _die_with_the_service() -> None:
    """Wait for the end of the service, or of its interest in this process.

    The server process is of no help there: it lives as long as its children do.
    """
    if service := multiprocessing.parent_process():
        service.join()
        os.kill(os.getpid(), signal.SIGKILL)


def _be_quiet() -> None:
    """Write nothing where the service's log is: libraries quote what they stumble over."""
    logging.disable()
    warnings.simplefilter("ignore")
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
