"""A service calls another one as the user who called it, without a key of its own."""

import httpx2
import pytest

from tests.langgraph_projects.conftest import ServeProject


async def test_user_is_passed_on_to_another_service(
    serve_project: ServeProject, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_project("two_services") as other, serve_project("two_services") as url:
        monkeypatch.setenv("OTHER_SERVICE", other)
        async with httpx2.AsyncClient(base_url=url, timeout=60, trust_env=False) as http:
            names = []
            for name in ("ada", "bob"):
                http.headers["Authorization"] = f"Bearer token-of-{name}"
                thread = (await http.post("/threads", json={})).raise_for_status().json()
                run = {"assistant_id": "front", "input": {}}
                names.append((await http.post(f"/threads/{thread['thread_id']}/runs/wait", json=run)).json())
                shown = await http.get(f"/threads/{thread['thread_id']}/runs")
                states = await http.get(f"/threads/{thread['thread_id']}/history")
                assert "token-of" not in shown.text + states.text
    assert names == [{"name": "ada"}, {"name": "bob"}]
