"""The logs and traces of one request, from the client to the worker's last line; and no secrets."""

import json
import subprocess
import sys
import uuid
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError
from sqlalchemy.engine import make_url

from project4_agent_api.settings import Settings
from tests.support.accounts import PASSWORD
from tests.support.agent_service import AgentService, agent_service
from tests.support.collector import Collector, collecting
from tests.support.launched import ROOT
from tests.support.receiver import receiving
from tests.support.scripted_model import ScriptedModel, calls, says

pytestmark = pytest.mark.slow

REQUEST_ID = "asked-by-the-client"
QUESTION, ANSWER = "How many lighthouses are 2 + 3?", "Five lighthouses."
MODEL_KEY = "sk-the-key-of-the-model"
JWT_SECRET = "what signs the tokens, in more than 32 bytes"
METRICS_TOKEN = "only-for-prometheus"
COLLECTOR_TOKEN = "only-for-the-collector"


class Session:
    """A client that keeps every secret that it was given."""

    def __init__(self, url: str) -> None:
        self.secrets = {PASSWORD, "a wrong password"}
        self.http = httpx2.Client(base_url=url, timeout=120, trust_env=False)

    def post(self, path: str, status: int = 200, **arguments: Any) -> Any:  # noqa: ANN401  it is JSON
        answer = self.http.post(path, **arguments)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content and answer.headers["content-type"] == "application/json" else None

    def keep(self, tokens: dict[str, str]) -> dict[str, str]:
        self.secrets |= {tokens["access_token"], tokens["refresh_token"]}
        self.http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        return tokens


def use(service: AgentService, model: ScriptedModel) -> set[str]:
    """Use every kind of secret, and send one request that is traced. Returns the secrets."""
    session = Session(service.url)
    with session.http, receiving() as receiver:
        session.secrets.add(receiver.url.partition("token=")[2])
        email = f"{uuid.uuid4()}@example.com"
        session.post("/auth/register", 201, json={"email": email, "name": "Ada", "password": PASSWORD})
        session.post("/auth/token", 401, data={"username": email, "password": "a wrong password"})
        tokens = session.keep(session.post("/auth/token", data={"username": email, "password": PASSWORD}))
        tokens = session.keep(session.post("/auth/refresh", json={"refresh_token": tokens["refresh_token"]}))
        key = session.post("/auth/api-keys", 201, json={"name": "mine"})["key"]
        session.secrets.add(key)

        thread_id = session.post("/threads", json={})["thread_id"]
        model.then(calls(("calculator", '{"expression": "2 + 3"}')), says(ANSWER))
        said = {"messages": [{"role": "user", "content": QUESTION}]}
        run = {"assistant_id": "agent", "input": said, "webhook": receiver.url}
        given = session.post(f"/threads/{thread_id}/runs/wait", json=run, headers={"X-Request-ID": REQUEST_ID})
        assert given["messages"][-1]["content"] == ANSWER
        (stored,) = session.http.get(f"/threads/{thread_id}/runs").json()
        session.post("/feedback", json={"run_id": stored["run_id"], "key": "user_score", "score": 1, "comment": ANSWER})
        del session.http.headers["Authorization"]
        model.fails(401)  # as if the model's key were wrong
        session.post("/runs/wait", json={"assistant_id": "agent", "input": said}, headers={"X-Api-Key": key})
        assert session.http.get("/metrics", headers={"Authorization": "Bearer none"}).status_code == 401
        shown = session.http.get("/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
        assert [secret for secret in session.secrets if secret in shown.text] == []
        session.http.post("/auth/logout", json={"refresh_token": tokens["refresh_token"]})
    return session.secrets


def test_request_is_traced_to_the_worker_without_secrets(
    database_url: str, redis_url: str, model: ScriptedModel, capfd: pytest.CaptureFixture[str]
) -> None:
    passwords = {str(make_url(url).password) for url in (database_url, redis_url)}
    settings: dict[str, Any] = {
        "app_env": "production",
        "log_level": "DEBUG",
        "openai_api_key": MODEL_KEY,
        "jwt_secret": JWT_SECRET,
        "metrics_token": METRICS_TOKEN,
        "otel_exporter_otlp_headers": f"Authorization=Bearer%20{COLLECTOR_TOKEN}",
        "webhook_allow_private": "true",
        "llm_prices": json.dumps({"scripted-model": {"input": 100_000, "output": 200_000}}),
    }
    with (
        collecting() as collector,
        agent_service(database_url, redis_url, model, otel_exporter_otlp_endpoint=collector.url, **settings) as service,
    ):
        secrets = use(service, model)
        service.stop()  # which sends the remaining spans
    logged = capfd.readouterr().err

    lines = [json.loads(line) for line in logged.splitlines()]
    followed = [line for line in lines if line.get("request_id") == REQUEST_ID]
    assert any(line["message"].startswith("POST /threads/") for line in followed)  # the API's
    (run_id,) = {line["run_id"] for line in followed if "run_id" in line}
    of_the_run = [line for line in lines if line.get("run_id") == run_id]
    assert of_the_run[-1]["message"].startswith("run ended after")  # the worker's last
    assert {line["request_id"] for line in of_the_run} == {REQUEST_ID}

    check_trace(collector, run_id)

    secrets |= {MODEL_KEY, JWT_SECRET, METRICS_TOKEN, COLLECTOR_TOKEN} | passwords
    told = "\n".join([logged, *collector.texts])
    assert [secret for secret in secrets if secret in told] == []
    assert {head["authorization"] for head in collector.heads} == {f"Bearer {COLLECTOR_TOKEN}"}
    traced = "\n".join(collector.texts)
    assert "lighthouses" not in traced  # neither questions nor answers


LOADS = """
import sys
from project4_agent_api.main import create_app
from project4_agent_api.worker import create_worker
from project4_agent_api.settings import Settings
given = {"openai_base_url": "http://127.0.0.1:9/v1", "llm_model": "m", "embedding_model": "e", "jwt_secret": "x" * 32}
settings = Settings(**given, database_url="postgresql://h/d", redis_url="redis://h", _env_file=None)
create_app(settings), create_worker(settings)
ours = ("opentelemetry.exporter", "opentelemetry.sdk.trace.export", "project4_agent_api.core.telemetry.tracing.")
sys.exit(str([name for name in sys.modules if name.startswith(ours)] or ""))
"""


def test_exporter_is_not_loaded_without_a_collector() -> None:
    loaded = subprocess.run([sys.executable, "-c", LOADS], cwd=ROOT, capture_output=True, text=True, check=False)

    assert loaded.stderr.strip() == ""


def test_headers_for_the_collector_are_named_values(make_settings4: Callable[..., Settings]) -> None:
    settings = make_settings4(otel_exporter_otlp_headers="Authorization=Bearer%20abc==, X-Scope=ours")

    assert settings.otlp_headers() == {"authorization": "Bearer abc==", "x-scope": "ours"}
    assert "Bearer abc==" in settings.secrets()
    with pytest.raises(ValidationError) as error:
        make_settings4(otel_exporter_otlp_headers="a-token-alone")
    assert "a-token-alone" not in str(error.value)


def check_trace(collector: Collector, run_id: str) -> None:
    """The request, the queue, the run and its calls form one trace."""
    assert collector.paths == {"/v1/traces"}
    (run,) = [span for span in collector.named("run agent") if span.attributes["run_id"] == run_id]
    trace = {span.span_id: span for span in collector.spans if span.trace_id == run.trace_id}
    stored = trace[run.parent_id]
    request = trace[stored.parent_id]
    assert (run.service, run.attributes["status"], run.attributes["request_id"]) == (
        "agent-worker",
        "success",
        REQUEST_ID,
    )
    assert (stored.service, stored.name) == ("agent-api", "store run agent")
    assert (request.service, request.name) == ("agent-api", "POST /threads/{thread_id}/runs/wait")
    assert request.attributes["request_id"] == REQUEST_ID
    rated = [(span.service, span.name) for span in trace.values() if span.parent_id == stored.span_id and span != run]
    assert rated == [("agent-api", "feedback user_score")]
    called = sorted(span.name for span in trace.values() if span.parent_id == run.span_id)
    assert called == ["chat m", "chat m", "execute_tool calculator"]
    priced = [span.attributes for span in trace.values() if "gen_ai.usage.cost" in span.attributes]
    costs = [(each["gen_ai.response.model"], f"{float(each['gen_ai.usage.cost']):.3f}") for each in priced]
    assert costs == [("scripted-model", "1.100")]
