"""Fetching pages: forbidden addresses, size limits, and the text.

The servers are real ones on loopback. Only two things stand between: names are resolved by a table, and a connection to
a public address of the table is made to the server that plays it. The checks are between the two.
"""

import asyncio
import gzip
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from project4_agent_api.agents.web.pages import WebPages
from shared.outbound.addresses import UnresolvableError, is_public, resolve
from shared.outbound.fetching import FetchError
from tests.support.internet import Wires, answer, moved, serving, table_of

FORBIDDEN = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::8.8.8.8",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:53aa:64c:0:fbff:80ff:fffe",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "161.26.0.7",
    "166.9.1.1",
    "168.63.129.16",
    "fd00:ec2::254",
    "fd20:ce::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.255.255", "172.32.0.1", "100.63.255.255", "2606:4700::1111"]


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_private_addresses_are_refused(address: str) -> None:
    assert not is_public(address)
    web, connected = internet({"innocent.example": [address]})

    with pytest.raises(FetchError, match="not a public address"):
        await web.fetch("http://innocent.example/")
    host = f"[{address.partition('%')[0]}]" if ":" in address else address
    with pytest.raises(FetchError, match="not a public address"):
        await WebPages(5, 1000, backend=web.backend).fetch(f"http://{host}/")

    assert connected == []


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/",
        "http://localhost./",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://017700000001/",
        "http://127.0.0.1:8004/",
        "http://[::1]/",
        "http://[::ffff:7f00:1]/",
        "http://[0:0:0:0:0:ffff:127.0.0.1]/",
        "http://①②⑦.⓪.⓪.①/",
        "http://127。0。0。1/",
        "http://127.0.0.1#@example.com/",
        "http://127.0.0.1\\@example.com/",
        "http://example.com@127.0.0.1/",
        "http://0/",
        "HTTP://LOCALHOST/",
    ],
)
async def test_spellings_of_loopback_are_refused(url: str) -> None:
    """With the system's own resolver, which knows all of them."""
    connected: list[str] = []
    with pytest.raises(FetchError):
        await WebPages(5, 1000, backend=Wires({}, connected)).fetch(url)

    assert connected == []


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://example.com/", "begin with http"),
        ("file:///etc/passwd", "begin with http"),
        ("gopher://example.com/", "begin with http"),
        ("//example.com/", "begin with http"),
        ("example.com", "begin with http"),
        ("javascript:alert(1)", "begin with http"),
        ("http://", "no address"),
        ("http:///path", "no address"),
        ("", "begin with http"),
        ("http://user:password@example.com/", "user name or a password"),
        ("http://example.com@evil.example/", "user name or a password"),
        ("http://exa\nmple.com/", "no address"),
        ("http://example.com:port/", "no address"),
        ("http://[::1", "no address"),
        ("http://" + "a" * 3000 + ".example/", "too long"),
    ],
)
async def test_invalid_page_address_is_reported(url: str, why: str) -> None:
    web, connected = internet({"example.com": ["93.184.216.34"]})

    with pytest.raises(FetchError, match=why):
        await web.fetch(url)
    assert connected == []


async def test_unresolvable_name_is_reported() -> None:
    web, _ = internet({})

    with pytest.raises(FetchError, match=r"no server named nobody\.example"):
        await web.fetch("http://nobody.example/")
    with pytest.raises(UnresolvableError):
        await resolve("nobody.invalid", 80)


async def test_page_text_is_the_visible_text() -> None:
    page = (
        b"<!doctype html><html><head><title>T</title><style>p{}</style><script>evil()</script></head><body>"
        b"<nav>Menu</nav><h1>Opening hours</h1><p>The library opens at <b>nine</b>.</p><p hidden>Not this.</p></body>"
    )
    async with serving(answer(page, "text/html; charset=utf-8")) as port:
        web, connected = internet({"library.example": ["93.184.216.34"]}, port)
        found = await web.fetch("http://library.example/hours?day=monday#top")

    assert found.text == "# Opening hours\n\nThe library opens at nine."
    assert found.complete
    assert found.url == "http://library.example/hours?day=monday#top"
    assert connected == ["93.184.216.34"]


async def test_request_headers_are_minimal() -> None:
    heads: list[str] = []
    async with serving(answer(b"hello", "text/plain"), heads) as port:
        web, _ = internet({"xn--mnchen-3ya.example": ["93.184.216.34"]}, port)
        await web.fetch("http://münchen.example:8080/a b?q=ü")

    (head,) = heads
    lines = head.split("\r\n")
    assert lines[0] == "GET /a%20b?q=%C3%BC HTTP/1.1"
    assert "Host: xn--mnchen-3ya.example:8080" in lines
    assert "Accept-Encoding: identity" in lines
    assert "cookie" not in head.lower()
    assert "authorization" not in head.lower()


@pytest.mark.parametrize(
    ("content", "content_type", "text"),
    [
        ("naïve".encode(), "text/plain", "naïve"),
        ("naïve".encode("latin-1"), "text/plain; charset=iso-8859-1", "naïve"),
        ("<p>你好".encode("gbk"), "text/html; charset=gbk", "你好"),
        ('<meta charset="gbk"><p>你好'.encode("gbk"), "text/html", "你好"),
        (b"hello", "text/plain; charset=no-such-thing", "hello"),
        (b"hello", "text/plain; charset=hex", "hello"),
        (b"ab-cd", "text/plain; charset=punycode", "ab-cd"),  # which takes minutes for a megabyte
        (b'<meta charset="punycode"><p>ab-cd', "text/html", "ab-cd"),
        (b"ab.cd", "text/plain; charset=idna", "ab.cd"),
        (rb"\u0041", "text/plain; charset=unicode_escape", r"\u0041"),
        ("naïve".encode("utf-16"), "text/plain; charset=utf-16", "naïve"),
        (b"a\0b", "text/plain", "ab"),
        (b'{"a": 1}', "application/json", '{"a": 1}'),
        (b"", "text/html", ""),
        (b"<!-- nothing -->", "text/html", ""),
        (b"<div>" * 3000 + b"deep", "text/html", "deep"),
        (b"\xff\xfe<broken", "text/plain", "\ufffd\ufffd<broken"),
    ],
)
async def test_texts_of_all_types_are_decoded(content: bytes, content_type: str, text: str) -> None:
    async with serving(answer(content, content_type)) as port:
        web, _ = internet({"a.example": ["93.184.216.34"]}, port)
        assert (await web.fetch("http://a.example/")).text == text


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 1\r\n\r\nx", "no text but image/png"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: application/pdf\r\nContent-Length: 1\r\n\r\nx",
            "no text but application/pdf",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "does not say what kind"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "status 404"),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n", "status 500"),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "status 302"),
        (b"SSH-2.0-OpenSSH\r\n", "could not be reached, or broke off"),
        (b"", "could not be reached, or broke off"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nhalf", "or broke off"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n\r\n"
            + gzip.compress(b"<p>bomb" * 10_000),
            "packed",
        ),
    ],
)
async def test_unsupported_content_is_reported(response: bytes, why: str) -> None:
    async with serving(response) as port:
        web, _ = internet({"a.example": ["93.184.216.34"]}, port)
        with pytest.raises(FetchError, match=why):
            await web.fetch("http://a.example/")


async def test_endless_page_is_read_to_the_limit() -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
        while True:
            writer.write(b"word " * 1000)
            await writer.drain()

    async with serving(endless) as port:
        web, _ = internet({"a.example": ["93.184.216.34"]}, port)
        page = await web.fetch("http://a.example/")

    assert not page.complete
    assert 19_000 < len(page.text) <= 20_000


@pytest.mark.parametrize("before", [b"", b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nslow"])
async def test_slow_page_times_out(before: bytes) -> None:
    async def slow(writer: asyncio.StreamWriter) -> None:
        writer.write(before)
        while True:
            writer.write(b"." if before else b"")
            await writer.drain()
            await asyncio.sleep(0.05)

    async with serving(slow) as port:
        web, _ = internet({"a.example": ["93.184.216.34"]}, port, seconds=0.5)
        with pytest.raises(FetchError, match=r"more than 0\.5 seconds"):
            await web.fetch("http://a.example/")


async def test_redirects_are_followed() -> None:
    async with serving({"/": moved("/next"), "/next": moved("http://b.example/end")}) as port:
        web, connected = internet({"a.example": ["93.184.216.34"], "b.example": ["1.1.1.1"]}, port)
        with pytest.raises(FetchError, match="status 404"):
            await web.fetch("http://a.example/")

    assert connected == ["93.184.216.34", "93.184.216.34", "1.1.1.1"]


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.1/secret",
        "http://127.1/secret",
        "http://[::1]/secret",
        "http://inside.example/secret",
        "//inside.example/secret",
        "http://169.254.169.254/latest/meta-data/",
        "file:///etc/passwd",
        "ftp://b.example/",
        "http://user@b.example/",
        "http://[",
        "/" * 3000,
    ],
)
async def test_redirect_to_a_private_address_is_refused(location: str) -> None:
    async with serving({"/": moved(location)}) as port:
        web, connected = internet(
            {"a.example": ["93.184.216.34"], "b.example": ["1.1.1.1"], "inside.example": ["10.0.0.1"]}, port
        )
        with pytest.raises(FetchError):
            await web.fetch("http://a.example/")

    assert connected == ["93.184.216.34"]


async def test_redirects_are_limited() -> None:
    async with serving({"/": moved("/")}) as port:
        web, connected = internet({"a.example": ["93.184.216.34"]}, port)
        with pytest.raises(FetchError, match="more than 5 times"):
            await web.fetch("http://a.example/")

    assert len(connected) == 6


async def test_dns_rebinding_is_prevented() -> None:
    """It resolves to a public address when it is checked, and to loopback the next moment."""
    answers = iter([["93.184.216.34"], ["127.0.0.1"], ["127.0.0.1"]])
    asked: list[str] = []

    async def rebinding(host: str, port: int) -> Sequence[str]:
        asked.append(f"{host}:{port}")
        return next(answers)

    connected: list[str] = []
    async with serving({"/": moved("/again"), "/again": answer(b"secret", "text/plain")}) as port:
        web = WebPages(5, 1000, rebinding, Wires({"93.184.216.34": port, "127.0.0.1": port}, connected))
        with pytest.raises(FetchError, match="not a public address"):
            await web.fetch("http://a.example/")

    assert connected == ["93.184.216.34"]  # the first request; the second resolved the name anew, and was stopped
    assert asked == ["a.example:80", "a.example:80"]


async def test_only_public_addresses_of_a_name_are_tried() -> None:
    async with serving(answer(b"hello", "text/plain")) as port:
        connected: list[str] = []
        table = {"a.example": ["10.0.0.1", "8.8.8.8", "::1", "1.1.1.1"]}
        web = WebPages(5, 1000, table_of(table), Wires({"1.1.1.1": port}, connected))
        assert (await web.fetch("http://a.example/")).text == "hello"

    assert connected == ["8.8.8.8", "1.1.1.1"]  # nobody answers at the first


async def test_untrusted_certificate_is_rejected(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("a.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "a.pem").write_bytes(pem)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "a.pem")

    async with serving(answer(b"secret", "text/plain"), tls=tls) as port:
        web, _ = internet({"a.example": ["93.184.216.34"]}, port)
        with pytest.raises(FetchError, match="could not be reached"):
            await web.fetch("https://a.example/")


def internet(names: dict[str, list[str]], port: int = 1, seconds: float = 5) -> tuple[WebPages, list[str]]:
    """Make a fetcher for which one server plays every address, and the list of the addresses it connected to."""
    connected: list[str] = []
    servers = {address: port for addresses in names.values() for address in addresses}
    return WebPages(seconds, 20_000, table_of(names), Wires(servers, connected)), connected
