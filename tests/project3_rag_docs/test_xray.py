"""The X-ray of a request to stage 3."""

import httpx2

from tests.project3_rag_docs.conftest import Serve
from tests.support.xray import of_kind, rows_of


async def test_upload_is_shown_with_the_job_that_reads_it(serve3: Serve) -> None:
    with serve3(xray_enabled=True) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
            response = await client.post("/documents", files={"file": ("a.txt", b"The sky is blue.")})
            rows = await rows_of(client, response, "embedding")

    (stored,), (job,) = of_kind(rows, "queue"), of_kind(rows, "worker")
    assert job["parent_id"] == stored["span_id"]
    assert job["source"]["path"].endswith("project3_rag_docs/ingestion/job.py")
    assert {row["details"]["model"] for row in of_kind(rows, "embedding")} == {"e"}
