"""Uploads that are no single file: the file behind a URL, and the files of a ZIP archive."""

import io
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from email.message import Message
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from project1_qa_api.settings import Settings as Stage1Settings
from project3_rag_docs.ingestion.download import name_of
from project3_rag_docs.main import create_app
from shared.outbound.fetching import PublicWeb
from tests.project3_rag_docs.conftest import settings_for
from tests.support.databases import Databases
from tests.support.documents import finished, found
from tests.support.internet import Wires, answer, moved, serving, table_of
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel

NAMES = {"docs.example": ["93.184.216.34"], "inside.example": ["10.0.0.1"]}


@pytest.fixture(scope="module")
def app_and_url(
    make_settings: Callable[..., Stage1Settings], databases: Databases, _model_server: ScriptedModel
) -> Iterator[tuple[FastAPI, str]]:
    """Stage 3, for all tests here."""
    _model_server.reset()
    with databases.migrated("project3_rag_docs") as database_url:
        app = create_app(
            settings_for(make_settings, database_url, max_upload_mb=1, archive_max_files=20, archive_max_unpacked_mb=3)
        )
        with running(app) as url:
            yield app, url


@pytest.fixture
async def client(app_and_url: tuple[FastAPI, str]) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of it."""
    async with httpx2.AsyncClient(base_url=app_and_url[1], timeout=120, trust_env=False) as http:
        yield http


def connect(app: FastAPI, port: int) -> list[str]:
    """Let a server on loopback play the internet; return the list of the addresses that the app connects to."""
    connected: list[str] = []
    app.state.public_web = PublicWeb(5, table_of(NAMES), Wires({"93.184.216.34": port}, connected))
    return connected


async def test_document_is_downloaded(app_and_url: tuple[FastAPI, str], client: httpx2.AsyncClient) -> None:
    page = b"<h1>Otters</h1><p>The otter sleeps in the holt.</p>"
    async with serving({"/a": moved("/wiki/otter"), "/wiki/otter": answer(page, "text/html; charset=utf-8")}) as port:
        connect(app_and_url[0], port)
        body = {"url": "http://docs.example/a", "tags": ["animals"], "metadata": {"year": 2026}}
        response = await client.post("/documents/from-url", json=body)
        again = await client.post("/documents/from-url", json={"url": "http://docs.example/wiki/otter"})

    document = response.json()
    assert (response.status_code, again.status_code) == (202, 200), response.text
    assert (document["filename"], document["media_type"]) == ("otter.html", "text/html")
    assert (document["tags"], document["metadata"]) == (
        ["animals"],
        {"source_url": "http://docs.example/a", "year": 2026},
    )
    assert (again.json()["id"], response.headers["location"]) == (document["id"], f"/documents/{document['id']}")
    await finished(client, document)
    assert (await found(client, "Where does the otter sleep?"))[0]["document_id"] == document["id"]


async def test_private_and_unusable_addresses_are_refused(
    app_and_url: tuple[FastAPI, str], client: httpx2.AsyncClient
) -> None:
    pages = {
        "/moved": moved("http://inside.example/secret"),
        "/large.txt": answer(b"x" * (2**20 + 1), "text/plain"),
        "/program.exe": answer(b"MZ\x90\x00", "application/octet-stream"),
        "/empty.txt": answer(b"", "text/plain"),
    }
    async with serving(pages) as port:
        connected = connect(app_and_url[0], port)
        for url, status, detail in (
            (
                "http://inside.example/",
                422,
                "inside.example is not a public address, and only public ones are fetched.",
            ),
            ("http://docs.example/moved", 422, "inside.example is not a public address, and only public ones"),
            ("http://nobody.example/", 422, "There is no server named nobody.example."),
            ("file:///etc/passwd", 422, "Only addresses that begin with http:// or https:// are fetched."),
            ("http://user:secret@docs.example/", 422, "An address with a user name or a password"),
            ("http://docs.example/none", 422, "The server answered with status 404."),
            ("http://docs.example/large.txt", 422, "The file is larger than 1 MiB."),
            ("http://docs.example/empty.txt", 422, "The file is empty."),
            ("http://docs.example/program.exe", 415, "Files with the suffix .exe are not supported."),
        ):
            response = await client.post("/documents/from-url", json={"url": url})
            assert response.status_code == status, url
            assert response.json()["detail"].startswith(detail), response.text

    assert set(connected) == {"93.184.216.34"}


@pytest.mark.parametrize(
    ("url", "headers", "name"),
    [
        ("http://a.example/b/report.pdf?x=1", {}, "report.pdf"),
        ("http://a.example/%E6%8A%A5%E5%91%8A.pdf", {}, "报告.pdf"),
        ("http://a.example/", {"Content-Type": "text/html"}, "a.example.html"),
        ("http://a.example/v1.2", {"Content-Type": "application/pdf"}, "v1.2.pdf"),
        ("http://a.example/get?id=1", {"Content-Disposition": 'attachment; filename="plan.docx"'}, "plan.docx"),
        ("http://a.example/get", {"Content-Disposition": "attachment; filename*=UTF-8''%E4%B9%A6.md"}, "书.md"),
        ("http://a.example/data", {"Content-Type": "application/zip"}, "data"),
    ],
)
def test_downloaded_file_is_named(url: str, headers: Mapping[str, str], name: str) -> None:
    message = Message()
    for key, value in headers.items():
        message[key] = value
    assert name_of(httpx2.URL(url), message) == name


class _ChineseInfo(zipfile.ZipInfo):
    """A member whose name is encoded as tools for Chinese do it, who set no flag."""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:  # noqa: N802  of the standard library
        return self.filename.encode("gb18030"), self.flag_bits


def archive_of(*members: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return made.getvalue()


async def send(client: httpx2.AsyncClient, archive: bytes, **data: Any) -> httpx2.Response:
    return await client.post("/documents/archive", files={"file": ("files.zip", archive)}, data=data)


async def test_files_of_an_archive_become_documents(client: httpx2.AsyncClient) -> None:
    link = zipfile.ZipInfo("link.txt")
    link.external_attr = 0o120777 << 16
    packed = archive_of(
        ("a/", b""),
        ("a/badger.md", b"# Badger\n\nThe badger digs a sett."),
        ("../../etc/mole.txt", b"The mole digs tunnels."),
        (_ChineseInfo("报告.txt"), "獾在挖洞。".encode()),
        (link, b"/etc/passwd"),
        ("a/tool.exe", b"MZ\x90\x00"),
        ("a/empty.txt", b""),
        ("a/inner.zip", archive_of(("deep.txt", b"deep"))),
        ("/".join("d" * 20) + "/deep.txt", b"deep"),
        ("zeros.txt", b" " * (2**20)),
        ("__MACOSX/a/._badger.md", b"junk"),
        ("a/.DS_Store", b"junk"),
    )

    response = await send(client, packed, tags=["wild"], metadata='{"year": 2025}')

    assert response.status_code == 202, response.text
    report = response.json()
    stored = {document["filename"]: document for document in report["documents"]}
    assert {"badger.md", "mole.txt", "报告.txt"} == set(stored)
    assert stored["badger.md"]["metadata"] == {"year": 2025, "path": "a/badger.md"}
    assert stored["mole.txt"]["tags"] == ["wild"]
    refused = {member["path"].rpartition("/")[2]: member["reason"] for member in report["refused"]}
    assert refused.pop("tool.exe").startswith("Files with the suffix .exe are not supported.")
    assert refused.pop("inner.zip").startswith("The file is a ZIP archive")
    assert refused == {
        "link.txt": "This is a link or a device, not a file.",
        "empty.txt": "The file is empty.",
        "deep.txt": "The file is in more than 15 folders.",
        "zeros.txt": "The file is packed to less than 1/200 of its size.",
    }
    for document in stored.values():
        assert (await finished(client, document))["status"] == "ready"
    assert (await found(client, "What does the badger dig?"))[0]["filename"] == "badger.md"
    again = (await send(client, packed)).json()
    assert [document["id"] for document in again["documents"]] == [one["id"] for one in report["documents"]]


async def test_path_that_is_too_long_for_metadata_is_left_out(client: httpx2.AsyncClient) -> None:
    report = (await send(client, archive_of(("d" * 1001 + "/vole.txt", b"The vole nibbles.")))).json()

    (document,) = report["documents"]
    assert (document["filename"], document["metadata"]) == ("vole.txt", {})


async def test_unusable_archives_are_refused(client: httpx2.AsyncClient) -> None:
    damaged = archive_of(("a.txt", b"The text of a damaged file. " * 50), ("b.txt", b"A text that is whole."))
    damaged = damaged[:45] + bytes([damaged[45] ^ 0xFF]) + damaged[46:]
    for archive, detail in (
        (b"no archive", "The file is no ZIP archive, or is damaged."),
        (archive_of(), "The file is no ZIP archive, or is damaged."),
        (archive_of(*((f"{i}.txt", b"x") for i in range(21))), "The archive has more than 20 files."),
        (
            archive_of(*((f"{i}.txt", bytes([65 + i]) * 2**20) for i in range(4))),
            "The files of the archive have more than 3 MiB together.",
        ),
    ):
        response = await send(client, archive)
        assert (response.status_code, response.json()["detail"]) == (422, detail)
    report = (await send(client, damaged)).json()
    assert report["refused"] == [{"path": "a.txt", "reason": "The file is damaged."}]
    assert [document["filename"] for document in report["documents"]] == ["b.txt"]
    large = await send(client, b"x" * (2**20 + 1))
    assert large.status_code == 413
