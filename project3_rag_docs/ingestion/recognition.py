"""Recognise the text of scanned pages (OCR), in a process of its own with its own limits."""

import asyncio
import importlib.util
import json
import os
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from loguru import logger

_LONGEST_PAGE = 4 * 2**20  # bytes of a page's text
_SMALLEST_MACHINE = 4 * 2**30  # bytes of memory: the models need one GiB
_LOADING_SECONDS = 60.0


@dataclass(frozen=True)
class RecognitionLimits:
    """Limits for recognising the pages of one document.

    Attributes:
        seconds: Maximum time for a page.
        memory_bytes: Maximum memory of the process.
        pages: Maximum number of pages.
    """

    seconds: float = 120
    memory_bytes: int = 2 * 2**30
    pages: int = 200


def is_recommended() -> bool:
    """Return whether the extra `ocr` is installed, and the machine has enough memory for it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return is_installed() and memory >= _SMALLEST_MACHINE


def is_installed() -> bool:
    """Return whether the extra `ocr` is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("rapidocr", "onnxruntime"))


async def recognise(path: Path, pages: Sequence[int], limits: RecognitionLimits) -> AsyncGenerator[tuple[int, str]]:
    """Yield the numbers of pages of a PDF with the text that was recognised, in order.

    Fewer pages are yielded if there are too many, or if the process exceeds its limits: close the iterator to end it.
    """
    wanted = list(pages[: limits.pages])
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "project3_rag_docs.ingestion.recognition_process"),
        *(str(path), json.dumps(wanted), json.dumps(asdict(limits))),
        stdin=asyncio.subprocess.PIPE,  # never written: its end tells the process that the service has exited
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=_LONGEST_PAGE,
    )
    if process.stdout is None:
        raise RuntimeError("the process has no standard output")
    seconds, number = limits.seconds + _LOADING_SECONDS, 0
    try:
        for number in wanted:
            async with asyncio.timeout(seconds):
                line = await process.stdout.readline()
            if not line:
                logger.warning("OCR ended at page {} with exit status {}", number, await process.wait())
                return
            yield number, json.loads(line)
            seconds = limits.seconds
    except TimeoutError:
        logger.warning("OCR of page {} took longer than {} s", number, seconds)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())
