"""Download a document from a public URL."""

from collections.abc import AsyncIterator
from email.message import Message
from pathlib import PurePosixPath
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast
from urllib.parse import unquote

import httpx2

from project3_rag_docs.ingestion.parsing.media_types import SUFFIXES, MediaType
from project3_rag_docs.settings import MIB
from shared.outbound.fetching import FetchError, PublicWeb

_ACCEPT = ", ".join([*MediaType, "*/*;q=0.1"])


async def download(web: PublicWeb, url: str, max_bytes: int) -> tuple[str, BinaryIO]:
    """Return the name and the content of the file behind a URL. The caller closes it.

    Raises:
        FetchError: if it cannot be fetched, is on no public address, or has more than `max_bytes` bytes.
    """
    file = cast("BinaryIO", SpooledTemporaryFile(max_size=MIB))  # noqa: SIM115  the caller closes it
    try:
        async with web.get(url, accept=_ACCEPT) as fetched:
            await _write(fetched.content, file, max_bytes)
        return name_of(fetched.url, fetched.headers), file
    except BaseException:
        file.close()
        raise


async def _write(content: AsyncIterator[bytes], file: BinaryIO, max_bytes: int) -> None:
    async for data in content:
        if file.tell() + len(data) > max_bytes:
            raise FetchError(f"The file is larger than {max_bytes // MIB} MiB.")
        file.write(data)


def name_of(url: httpx2.URL, headers: Message) -> str:
    """Return the name that the server gives a file, or else the last part of the path, with a suffix for its type."""
    try:
        given = headers.get_filename()
    except ValueError:  # its encoding is unusable
        given = None
    name = given or PurePosixPath(unquote(url.path)).name or url.host
    named = PurePosixPath(name).suffix.lower()
    if named and named in SUFFIXES:
        return name
    media_type = headers.get_content_type() if "content-type" in headers else ""
    suffix = next((suffix for suffix, known in SUFFIXES.items() if known == media_type), None)
    return name + (suffix or "")
