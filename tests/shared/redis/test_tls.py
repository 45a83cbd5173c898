"""Redis with TLS: a server's certificate is checked."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.redis.client import create_redis


@dataclass(frozen=True)
class Settings:
    """Settings of a Redis client."""

    redis_url: str
    redis_names: str = "test"


@asynccontextmanager
async def with_tls(redis_url: str, certificate: Path) -> AsyncIterator[str]:
    """Terminate TLS before a server while the block runs; gives the new address."""
    target = urlsplit(redis_url)

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(target.hostname, target.port)
        await asyncio.gather(copy(reader, to_server), copy(from_server, writer), return_exceptions=True)

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"rediss://:{target.password}@127.0.0.1:{port}/0"


def make_certificate(file: Path, name: str) -> Path:
    """Make a certificate for a name, signed by itself, with its key."""
    subject = ["-subj", "/CN=valkey", "-addext", f"subjectAltName={name}", "-days", "1", "-nodes"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", f"{file}.key", "-out", str(file)]
    subprocess.run(["openssl", "req", "-x509", *key, *subject], check=True, capture_output=True)
    file.write_text(file.read_text() + Path(f"{file}.key").read_text())
    return file


async def test_certificate_of_the_server_is_checked(redis_url: str, tmp_path: Path) -> None:
    own = make_certificate(tmp_path / "own.pem", "IP:127.0.0.1")
    of_another = make_certificate(tmp_path / "other.pem", "DNS:valkey.example")

    async def ping(url: str) -> bool:
        async with create_redis(Settings(url)) as client:
            return bool(await client.ping())

    async with with_tls(redis_url, own) as url:
        assert await ping(f"{url}?ssl_ca_certs={own}")
        with pytest.raises(RedisConnectionError, match="certificate"):
            await ping(url)
    async with with_tls(redis_url, of_another) as url:
        with pytest.raises(RedisConnectionError, match="certificate"):
            await ping(f"{url}?ssl_ca_certs={of_another}")
        assert await ping(f"{url}?ssl_ca_certs={of_another}&ssl_check_hostname=false")
