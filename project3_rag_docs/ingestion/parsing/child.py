"""Parse each file in a child process, so that no file can exhaust or crash the service.

A fork server that has imported the loaders forks one child per document, which takes some milliseconds; a new
interpreter would take half a second. The child sets its own resource limits before it opens the file. It is killed when
its time is up, when its caller is cancelled, and when the service exits for any reason.
"""

import asyncio
import json
import logging
import math
import multiprocessing
import os
import resource
import signal
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import islice
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, NamedTuple

from langchain_core.documents import Document
from loguru import logger

from project3_rag_docs.ingestion.chunking import indexed_text, split_sections
from project3_rag_docs.ingestion.parsing import ParseLimits, UnreadableDocument
from project3_rag_docs.ingestion.parsing.loaders import loader_for
from project3_rag_docs.ingestion.parsing.media_types import MediaType
from project3_rag_docs.search.lexical import analyse

Report = dict[str, Any]  # as JSON at most 4,096 bytes

_CONTEXT = multiprocessing.get_context("forkserver")
_PROCESS_LOCK = threading.Lock()  # multiprocessing polls all children when one starts and when one is joined
_REPORT_BYTES = 4096  # fits into a pipe's buffer, so that writing does not block
_MAX_REPORTED_PAGES = 400

_TOO_LONG = "Reading the document takes too long. Split it, or save it in a simpler format."
_TOO_MUCH_MEMORY = "Reading the document takes too much memory. Split it."
_CRASHED = "The document crashes the program that reads it."
_NO_TEXT = "There is no text in the document."


@dataclass(frozen=True)
class ParsedChunk:
    """A chunk of a document, and its terms for BM25.

    Attributes:
        text: Verbatim from the document.
        page: From 1; None if the format has no pages.
        heading: The path of headings, such as "Guide > Install".
        recognised: Whether the text comes from OCR.
        language: A value of `Language`, for the heading and the text together.
        terms: The frequency of each term in the heading and the text.
    """

    text: str
    page: int | None
    heading: str | None
    language: str
    terms: dict[str, int]
    recognised: bool = False


class ParseResult(NamedTuple):
    """The result of parsing a file.

    Attributes:
        chunks: Number of chunks.
        notice: Sentences for the user on unreadable content; None if there is none.
        unreadable_pages: The first pages without usable text, which OCR may read.
    """

    chunks: int
    notice: str | None = None
    unreadable_pages: Sequence[int] = ()


async def parse(
    path: Path, media_type: MediaType, limits: ParseLimits, into: Path, recognised: dict[int, str] | None = None
) -> ParseResult:
    """Parse a file into chunks in a child process.

    Args:
        into: The file to which the chunks are written for `read_chunks`, one JSON object per line. Deleted on failure.
        recognised: The text of pages that OCR has read, by number.

    Raises:
        UnreadableDocument: if the file cannot be read within the limits.
    """
    with _remove_on_failure(into):
        report = await run_in_child(_report_chunks, (path, media_type, limits, into, recognised or {}), limits)
    return ParseResult(report["chunks"], report["notice"], tuple(report["unreadable_pages"]))


def _report_chunks(*arguments: Any) -> Report:
    return write_chunks(*arguments)._asdict()


def read_chunks(path: Path, start: int = 0) -> Iterator[ParsedChunk]:
    """Yield the chunks that `parse` wrote to a file, from number `start` on."""
    with path.open(encoding="utf-8") as lines:
        for line in islice(lines, start, None):
            yield ParsedChunk(**json.loads(line))


@contextmanager
def _remove_on_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        path.unlink(missing_ok=True)
        raise


class _ChildResult(NamedTuple):
    """The result of a child.

    Attributes:
        report: The function's result or the reason of the failure, as JSON; empty if the child was killed.
        exitcode: The exit status, or the negative number of the signal that killed it.
        timed_out: Whether this process killed it because its time was up.
    """

    report: bytes
    exitcode: int | None
    timed_out: bool


def _checked_report(result: _ChildResult) -> Report:
    """Return a child's report.

    Raises:
        UnreadableDocument: with the reason in the report, or the one that the exit status suggests.
    """
    if result.report and not result.timed_out:
        report: Report = json.loads(result.report)
        if "reason" not in report:
            return report
        reason, cause, pages = str(report["reason"]), report["cause"], report["pages"]
    elif result.timed_out or result.exitcode == -signal.SIGXCPU:
        reason, cause, pages = _TOO_LONG, "time", ()
    else:
        reason, cause, pages = _CRASHED, f"exit status {result.exitcode}", ()
    logger.info("a document cannot be read: {} ({})", reason, cause)
    raise UnreadableDocument(reason, pages)


async def run_in_child(function: Callable[..., Report], arguments: tuple[Any, ...], limits: ParseLimits) -> Report:
    """Call a function of a module in a child process, and return its report.

    Raises:
        UnreadableDocument: if it raises that, or exceeds the limits on time and memory.
    """
    return _checked_report(await _run_child(function, arguments, limits))


async def _run_child(function: Callable[..., Report], arguments: tuple[Any, ...], limits: ParseLimits) -> _ChildResult:
    receiving, sending = _CONTEXT.Pipe(duplex=False)
    process = _CONTEXT.Process(target=_child_main, args=(sending, function, arguments, limits), daemon=True)
    with receiving:
        await _start_child(process, sending)
        ended = timed_out = False
        try:
            async with asyncio.timeout(limits.seconds):
                await _wait_for_exit(process)
            ended = True
        except TimeoutError:
            timed_out = True
        finally:
            if not ended:
                process.kill()
            exitcode = await asyncio.shield(asyncio.to_thread(_reap, process))
        # The other end of the pipe is closed in all processes, so this does not block.
        return _ChildResult(os.read(receiving.fileno(), _REPORT_BYTES), exitcode, timed_out)


async def _start_child(process: ForkServerProcess, sending: Connection) -> None:
    """Start a child, in a thread because the first one waits for the fork server's imports.

    If the caller is cancelled, the child is killed as soon as it has started.
    """
    starting = asyncio.ensure_future(asyncio.to_thread(_start, process, sending))
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        starting.add_done_callback(lambda started: None if started.exception() else process.kill())
        raise


def _start(process: ForkServerProcess, sending: Connection) -> None:
    with sending, _PROCESS_LOCK:
        _CONTEXT.set_forkserver_preload([__name__])
        process.start()


async def _wait_for_exit(process: ForkServerProcess) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(process.sentinel, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(process.sentinel)


def _reap(process: ForkServerProcess) -> int | None:
    with _PROCESS_LOCK:
        process.join()
        exitcode = process.exitcode
        process.close()
    return exitcode


def _child_main(
    sending: Connection, function: Callable[..., Report], arguments: tuple[Any, ...], limits: ParseLimits
) -> None:
    """Call the function and report; the entry point of the child."""
    _apply_limits(limits)
    _silence_output()
    try:
        report = function(*arguments)
    except UnreadableDocument as error:
        cause = type(error.__cause__ or error).__name__
        report = {"reason": error.reason, "cause": cause, "pages": error.pages[:_MAX_REPORTED_PAGES]}
    except MemoryError:
        report = {"reason": _TOO_MUCH_MEMORY, "cause": "MemoryError", "pages": ()}
    except Exception as error:  # noqa: BLE001  any traceback may contain text of the document
        report = {"reason": _CRASHED, "cause": type(error).__name__, "pages": ()}
    os.write(sending.fileno(), json.dumps(report).encode()[:_REPORT_BYTES])


def write_chunks(
    path: Path, media_type: MediaType, limits: ParseLimits, into: Path, recognised: Mapping[int, str] | None = None
) -> ParseResult:
    """Parse a file in this process, without the limits on time and memory.

    Raises:
        UnreadableDocument: if the file cannot be read.
    """
    count = 0
    loader = loader_for(media_type, path, limits, recognised)
    with into.open("w", encoding="utf-8") as lines:
        documents = _within_character_limit(loader.lazy_load(), limits.characters)
        for chunk in split_sections(documents):
            analysis = analyse(indexed_text(chunk.heading, chunk.text))
            terms = dict(analysis.terms)
            parsed = ParsedChunk(chunk.text, chunk.page, chunk.heading, analysis.language, terms, chunk.recognised)
            lines.write(json.dumps(asdict(parsed), ensure_ascii=False) + "\n")
            count += 1
    if not count:
        raise UnreadableDocument(_NO_TEXT, loader.unreadable_pages)
    return ParseResult(count, " ".join(loader.notices) or None, tuple(loader.unreadable_pages[:_MAX_REPORTED_PAGES]))


def _within_character_limit(documents: Iterable[Document], limit: int) -> Iterator[Document]:
    total = 0
    for document in documents:
        total += len(document.page_content)
        if total > limit:
            raise UnreadableDocument(f"The document has more than {limit:,} characters of text. Split it.")
        yield document


def _apply_limits(limits: ParseLimits) -> None:
    """Limit this process's time, memory and files, and tie its life to that of the service."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the service kills this one itself
    threading.Thread(target=_exit_with_service, daemon=True).start()
    seconds = math.ceil(limits.seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (written := 32 * limits.characters + 2**20, written))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (limits.memory_bytes, limits.memory_bytes))


def _exit_with_service() -> None:
    """Kill this process when the service exits. The fork server does not do so: it lives as long as its children."""
    if service := multiprocessing.parent_process():
        service.join()
        os.kill(os.getpid(), signal.SIGKILL)


def _silence_output() -> None:
    """Discard all output: warnings of the libraries quote the document, and would end up in the service's log."""
    logging.disable()
    warnings.simplefilter("ignore")
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
