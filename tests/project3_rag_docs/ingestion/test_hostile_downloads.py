"""Headers of servers that users choose: long ones are cut, because reading them takes quadratic time."""

from email.message import Message

import httpx2
import pytest

from project3_rag_docs.ingestion.download import name_of
from shared.outbound.fetching import PublicWeb
from tests.support.internet import Wires, serving, table_of


async def test_long_headers_are_cut() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Disposition: attachment; filename=" + b'";' * 30_000
    async with serving(head + b"\r\nContent-Length: 2\r\n\r\nhi") as port:
        web = PublicWeb(60, table_of({"docs.example": ["93.184.216.34"]}), Wires({"93.184.216.34": port}, []))
        async with web.get("http://docs.example/", accept="*/*") as fetched:
            assert len(fetched.headers["content-disposition"]) == 4000
            assert b"".join([data async for data in fetched.content]) == b"hi"


@pytest.mark.parametrize("parameter", ["filename*=idna''x.pdf", "filename*=undefined''x.pdf"])
def test_name_in_an_unusable_encoding_is_left_out(parameter: str) -> None:
    headers = Message()
    headers["Content-Disposition"] = f"attachment; {parameter}"
    assert name_of(httpx2.URL("http://a.example/plan.md"), headers) == "plan.md"
