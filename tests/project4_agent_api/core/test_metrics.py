"""Metrics of a service in use, the access to them, and that dashboard and alerts ask for that only."""

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from project4_agent_api.core.telemetry.metrics import OTHER, LabelValues
from project4_agent_api.settings import Settings
from project4_agent_api.worker import create_worker
from tests.project4_agent_api.conftest import Serve
from tests.support.accounts import bearer, register, sign_in
from tests.support.receiver import receiving
from tests.support.running import running
from tests.support.scripted_model import ScriptedModel, calls, says

ROOT = Path(__file__).parents[3]
MONITORING = ROOT / "deploy" / "monitoring"
ASKED = {"messages": [{"role": "user", "content": "What is 2 + 3?"}]}

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scraped(url: str, **headers: str) -> Samples:
    """Every sample that a process gives."""
    answer = httpx2.get(f"{url}/metrics", headers=headers, timeout=120, trust_env=False).raise_for_status()
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    """The value of a sample."""
    return samples[name, frozenset(labels.items())]


@dataclass(frozen=True)
class Used:
    """A service that was used: what its processes count, and an id that was in paths."""

    api: Samples
    worker: Samples
    thread_id: str


@pytest.fixture
async def used(serve4: Serve, make_settings4: Callable[..., Settings], model: ScriptedModel) -> AsyncIterator[Used]:
    """One run that calls a tool and is streamed, one that fails, a search, and requests for unknown paths."""
    settings = make_settings4(webhook_allow_private=True)
    with serve4() as api, running(create_worker(settings)) as worker, receiving() as receiver:
        async with httpx2.AsyncClient(base_url=api, timeout=120, trust_env=False) as http:
            await register(http, "ada@example.com")
            http.headers.update(bearer(await sign_in(http, "ada@example.com")))
            model.then(calls(("calculator", '{"expression": "2 + 3"}')), says("It is 5."))
            thread_id = (await http.post("/threads", json={})).json()["thread_id"]
            run = {"assistant_id": "agent", "input": ASKED, "stream_mode": ["messages-tuple"], "webhook": receiver.url}
            (await http.post(f"/threads/{thread_id}/runs/stream", json=run)).raise_for_status()
            await receiver.received()
            model.fails(500)
            failed = await http.post("/runs/wait", json={"assistant_id": "agent", "input": ASKED})
            assert "__error__" in failed.json()
            await http.post("/documents/search", json={"query": "opening hours"})
            assert (await http.get("/no/such/path")).status_code == 404
            assert (await http.post("/threads", headers={"Authorization": "Bearer none"}, json={})).status_code == 401
        yield Used(scraped(api), scraped(worker), thread_id)


async def test_activity_is_counted_without_raw_paths(used: Used) -> None:
    api, worker = used.api, used.worker

    stream = {"method": "POST", "route": "/threads/{thread_id}/runs/stream"}
    assert value(api, "agent_http_requests_total", **stream, status="200") == 1
    assert value(api, "agent_http_answer_seconds_count", **stream) == 1
    assert value(api, "agent_http_requests_total", method="GET", route="unmatched", status="404") == 1
    assert value(api, "agent_http_requests_total", method="POST", route="refused", status="401") == 1
    assert value(api, "agent_runs_stored_total", graph="agent") == 2
    assert value(api, "agent_runs", state="waiting") == 0
    assert value(api, "agent_dependency_up", dependency="redis") == 1
    assert value(worker, "agent_run_seconds_count", graph="agent", status="success") == 1
    assert value(worker, "agent_run_seconds_count", graph="agent", status="error") == 1
    assert value(worker, "agent_run_queue_seconds_count", graph="agent") == 2
    assert value(worker, "agent_run_first_token_seconds_count", graph="agent") == 1
    assert value(worker, "agent_model_call_seconds_count", model="m", outcome="ok") == 2
    assert value(worker, "agent_model_call_seconds_count", model="m", outcome="error") == 1
    assert value(worker, "agent_model_tokens_total", model="m", direction="output") > 0
    assert value(worker, "agent_tool_call_seconds_count", tool="calculator", outcome="ok") == 1
    assert value(worker, "agent_webhook_calls_total", outcome="called") == 1
    assert value(worker, "agent_leases_held") == 0
    assert not any(used.thread_id in value for _, labels in [*api, *worker] for _, value in labels)


async def test_demand_for_workers_counts_what_they_could_execute_at_once(serve4: Serve) -> None:
    with serve4(user_runs_running_max=3) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            for email, threads in (("ada@example.com", 5), ("bob@example.com", 1)):
                await register(http, email)
                http.headers.update(bearer(await sign_in(http, email)))
                for _ in range(threads):
                    thread_id = (await http.post("/threads", json={})).json()["thread_id"]
                    for run in ({}, {}, {"after_seconds": 60}):  # of one thread, one after the other
                        body = {"assistant_id": "agent", "input": ASKED, "multitask_strategy": "enqueue", **run}
                        (await http.post(f"/threads/{thread_id}/runs", json=body)).raise_for_status()
        samples = scraped(url)

    assert value(samples, "agent_runs", state="waiting") == 12
    assert value(samples, "agent_runs_demand") == 3 + 1


def queries() -> Iterator[tuple[str, str]]:
    """Every query of the dashboard and the rules, with where it stands."""
    dashboard = json.loads((MONITORING / "grafana" / "project4.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for rule in rules():
        yield rule["alert"], rule["expr"]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


PROMETHEUS_OWN = {"up": {"job", "instance"}}


async def test_dashboard_and_alert_queries_name_existing_metrics(used: Used) -> None:
    there: dict[str, set[str]] = {name: set(labels) for name, labels in PROMETHEUS_OWN.items()}
    for name, labels in [*used.api, *used.worker]:
        there.setdefault(name, set()).update(label for label, _ in labels)
    target = {"job", "instance"}  # which Prometheus adds

    asked = dict.fromkeys(there, 0)
    for where, query in queries():
        metrics = re.findall(r"\b(?:agent|process|python)_\w+|\bup\b", query)
        assert metrics, where
        for metric in metrics:
            assert metric in there, f"{where}: {metric}"
            asked[metric] += 1
        known = target.union(*(there[metric] for metric in metrics))
        for labels in re.findall(r"\bby \(([^)]*)\)", query):
            assert {label.strip() for label in labels.split(",")} <= known, f"{where}: {labels}"
        for metric, matchers in re.findall(r"\b(agent_\w+|process_\w+|up)\{((?:[^\"}]|\"[^\"]*\")*)\}", query):
            named = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", matchers))
            assert named <= there[metric] | target, f"{where}: {matchers}"
        assert query.count("(") == query.count(")"), where
    ours = {name for name in there if name.startswith("agent_") and not name.endswith(("_created", "_sum", "_count"))}
    unseen = {name for name in ours if not asked[name] and not asked.get(f"{name.removesuffix('_bucket')}_count")}
    assert unseen == set()  # every metric is shown somewhere


def test_every_alert_has_a_summary_and_a_runbook() -> None:
    document = (ROOT / "docs" / "operations" / "alerts.md").read_text()
    headings = re.findall(r"^## (\w+)$", document, re.MULTILINE)

    assert headings == [rule["alert"] for rule in rules()]
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}, rule
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
        assert rule["annotations"]["runbook_url"] == f"docs/operations/alerts.md#{rule['alert'].lower()}"


async def test_metrics_require_the_configured_token(serve4: Serve) -> None:
    with serve4(metrics_token="only for Prometheus") as url:
        async with httpx2.AsyncClient(base_url=url, trust_env=False) as http:
            assert (await http.get("/metrics")).status_code == 401
            wrong = {"Authorization": "Bearer something else"}
            assert (await http.get("/metrics", headers=wrong)).status_code == 401
        assert scraped(url, Authorization="Bearer only for Prometheus")


def test_label_values_are_bounded() -> None:
    names = LabelValues(["known"], extra=2)

    assert [names.label_for(name) for name in ("a", "b", "c", "a", "known")] == ["a", "b", OTHER, "a", "known"]


async def test_metrics_without_a_token_are_for_private_networks_in_production(serve4: Serve) -> None:
    strong = "Zk8vQ2w7Rt4Lm9Xc1Bn6Hs3Jd5Pf0Yg="
    with serve4(app_env="production", jwt_secret=strong) as url:
        async with httpx2.AsyncClient(base_url=url, timeout=120, trust_env=False) as http:
            inside = await http.get("/metrics")
            outside = await http.get("/metrics", headers={"X-Forwarded-For": "203.0.114.7"})

    assert (inside.status_code, outside.status_code) == (200, 403)
