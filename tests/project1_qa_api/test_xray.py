"""The X-ray of a request to stage 1."""

from collections.abc import Callable

import httpx2

from project1_qa_api.main import create_app
from project1_qa_api.settings import Settings
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel
from tests.support.xray import of_kind, rows_of


async def test_stream_is_shown_from_its_middleware_to_the_work_after_it(
    make_settings: Callable[..., Settings], model: ScriptedModel
) -> None:
    model.says("It is blue.")
    headers = {"X-Request-ID": "mine", "Cookie": "session=a-secret", "Traceparent": f"00-{'a' * 32}-{'b' * 16}-00"}
    app = create_app(make_settings(xray_enabled=True))
    with running(app) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:
            response = await client.post("/ask/stream", json={"question": "Why?"}, headers=headers)
            rows = await rows_of(client, response, "background")
            heads = (await client.get("/xray/requests")).json()["requests"]
            page = (await client.get("/")).text

    assert [(head["request_id"], head["path"], head["status"]) for head in heads] == [("mine", "/ask/stream", 200)]
    assert [row["name"] for row in of_kind(rows, "middleware")][:2] == ["CORSMiddleware", "RequestContext"]
    dependencies = {row["name"]: row["details"]["scope"] for row in of_kind(rows, "dependency")}
    assert dependencies == {
        "get_answerer": "none",
        "open_stream": "request",
        "current_owner": "none",
        "get_history": "none",
    }
    (call,) = of_kind(rows, "model")
    assert call["details"]["prompt"].endswith("human: Why?")
    assert call["details"]["answer"].endswith("It is blue.")
    assert call["details"]["input_tokens"] == 7
    assert [row["name"] for row in of_kind(rows, "frame")] == ["token", "token", "token", "done"]
    (after,), (last_frame) = of_kind(rows, "background"), of_kind(rows, "frame")[-1]
    assert after["started"] > last_frame["started"]
    assert all(row["url"].startswith("vscode://file/") for row in rows)
    assert "a-secret" not in str(rows)
    assert "page/page/xray.js" not in page
    assert "page/shared/xray.js" in page
