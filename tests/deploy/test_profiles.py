"""Optional profiles of `docker-compose.yml` beside stage 4: the monitoring, and the earlier stages."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import yaml

from deploy.stack import ROOT, setting
from tests.deploy.service import Service, eventually

DOCUMENT = ROOT / "examples" / "documents" / "refund-policy.pdf"


@contextmanager
def up(service: Service, profile: str, *services: str) -> Iterator[None]:
    """Start a profile's services while a block runs."""
    service.stack.composed("--profile", profile, "up", "-d", "--no-deps", *services)
    try:
        yield
    finally:
        for name in services:
            service.stack.engine("rm", "-f", *service.stack.ids(name, stopped_too=True))


def client(port: str) -> httpx2.Client:
    """Make a client of a port that is published on loopback."""
    return httpx2.Client(base_url=f"http://127.0.0.1:{setting(port, '')}", timeout=120, trust_env=False)


def answer(http: httpx2.Client, path: str) -> Any:  # noqa: ANN401  any JSON
    """Return the response body of a path; None while nothing answers."""
    try:
        return http.get(path).raise_for_status().json()
    except httpx2.HTTPError:
        return None


def test_prometheus_scrapes_every_replica_and_loads_the_alerts(service: Service) -> None:
    service.wait_until_ready()

    with up(service, "monitoring", "prometheus"), client("PROMETHEUS_PORT") as http:

        def read() -> Counter[str]:
            targets = answer(http, "/api/v1/targets") or {"data": {"activeTargets": []}}
            return Counter(one["labels"]["job"] for one in targets["data"]["activeTargets"] if one["health"] == "up")

        eventually(lambda: read() == {"api": 2, "worker": 2, "prometheus": 1})
        eventually(lambda: answer(http, "/api/v1/query?query=agent_dependency_up")["data"]["result"])
        rules = answer(http, "/api/v1/rules")["data"]["groups"]

    written = yaml.safe_load((ROOT / "deploy" / "monitoring" / "alerts.yml").read_text())["groups"]
    alerts = [rule["alert"] for group in written for rule in group["rules"]]
    assert sorted(rule["name"] for group in rules for rule in group["rules"]) == sorted(alerts)
    assert {rule["health"] for group in rules for rule in group["rules"]} <= {"ok", "unknown"}


def test_stage_1_answers(service: Service) -> None:
    with up(service, "stage1", "stage1"), client("STAGE1_PORT") as http:
        eventually(lambda: answer(http, "/health"))

        asked = http.post("/ask", json={"question": "How long?"}).raise_for_status().json()

    assert asked["answer"] == "Within 45 days of delivery [1]."


def test_stage_2_has_its_own_database(service: Service) -> None:
    with up(service, "stage2", "stage2", "stage2-migrate"), client("STAGE2_PORT") as http:
        eventually(lambda: answer(http, "/ready"))
        body = {"email": "grace@example.com", "name": "Grace", "password": "correct horse"}
        made = http.post("/users", json=body).raise_for_status().json()

        assert http.get(f"/users/{made['id']}").raise_for_status().json()["email"] == "grace@example.com"

    assert service.query("SELECT count(*) FROM users WHERE email = 'grace@example.com'") == "0"


def test_stage_3_answers_from_a_document(service: Service) -> None:
    with up(service, "stage3", "stage3", "stage3-migrate"), client("STAGE3_PORT") as http:
        eventually(lambda: answer(http, "/ready"))
        service.upload(http, DOCUMENT)

        question = "Within how many days can I send something back?"
        asked = http.post("/documents/ask", json={"question": question}).raise_for_status().json()

    assert asked["answer"] == "Within 45 days of delivery [1]."
    assert [citation["filename"] for citation in asked["citations"]] == [DOCUMENT.name]
