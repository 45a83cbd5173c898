"""Few summaries of a user are made at once."""

import asyncio

import httpx2

from tests.support.documents import ready
from tests.support.scripted_model import ScriptedModel
from tests.support.until import until


async def test_further_summaries_have_to_wait(client3: httpx2.AsyncClient, model: ScriptedModel) -> None:
    document = await ready(client3)
    path = f"/documents/{document['id']}/summary"
    model.hangs()
    making = [asyncio.create_task(client3.post(f"{path}{of}")) for of in ("", "/stream", "/stream")]
    await until(lambda: len(model.requests) == len(making))

    refused = await client3.post(path)

    for request in making:
        request.cancel()
    await asyncio.gather(*making, return_exceptions=True)
    model.says("Opening hours.")
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
    assert refused.json()["detail"].startswith("3 of your summaries are being made already.")
    answer = refused
    for _ in range(600):  # the service notices after a while that its clients have gone
        if answer.status_code != 429:
            break
        await asyncio.sleep(0.1)
        answer = await client3.post(path)
    assert answer.json()["summary"] == "Opening hours."
