import os
import subprocess

import pytest
import yaml
from fastapi.testclient import TestClient
from pydantic import ValidationError


@pytest.fixture
def settings(exercise, monkeypatch):
    for name in ("ENVIRONMENT", "VERSION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", "postgresql://db/app")
    return exercise.Settings


async def fine():
    return None


async def unavailable():
    raise ConnectionRefusedError("postgresql://app:secret@db")


def test_settings_are_checked(settings, monkeypatch):
    assert (settings().environment, settings().version) == ("development", "dev")
    monkeypatch.setenv("ENVIRONMENT", "staging")
    with pytest.raises(ValidationError):
        settings()
    monkeypatch.setenv("ENVIRONMENT", "production")
    monkeypatch.delenv("DATABASE_URL")
    with pytest.raises(ValidationError):
        settings()


def test_health_ready_and_version(exercise, settings):
    client = TestClient(exercise.create_app(settings(version="1.2"), fine))
    assert [client.get(path).status_code for path in ("/health", "/ready", "/version")] == [200] * 3
    assert client.get("/version").json() == {"version": "1.2"}


def test_unavailable_database_is_not_ready_but_alive(exercise, settings):
    client = TestClient(exercise.create_app(settings(), unavailable))
    ready = client.get("/ready")
    assert (client.get("/health").status_code, ready.status_code) == (200, 503)
    assert "secret" not in ready.text


def test_shutdown_makes_it_unready(exercise, settings):
    app = exercise.create_app(settings(), fine)
    with TestClient(app) as client:
        assert client.get("/ready").status_code == 200
    assert TestClient(app).get("/ready").status_code == 503, "after the yield / 在 yield 之后"


def test_docs_are_for_development(exercise, settings):
    for environment, status in (("development", 200), ("production", 404)):
        app = exercise.create_app(settings(environment=environment), fine)
        assert TestClient(app).get("/docs").status_code == status


def test_compose_file_is_safe_and_waits(exercise):
    compose = yaml.safe_load(exercise.COMPOSE)
    api, postgres = compose["services"]["api"], compose["services"]["postgres"]
    assert api["image"] == "notes:${VERSION:?}"
    assert api["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert "pg_isready" in str(postgres["healthcheck"]["test"])
    assert api["restart"] in {"always", "unless-stopped", "on-failure"}
    assert [str(port).startswith("127.0.0.1:") for port in api["ports"]] == [True]
    assert "ports" not in postgres, "nobody outside needs the database / 外面不需要直接访问数据库"
    assert "${POSTGRES_PASSWORD:?}" in str(postgres["environment"])
    volume = str(postgres["volumes"][0]).partition(":")[0]
    assert volume in compose["volumes"], "a named volume outlives the container / 命名卷在容器删除后还在"


PG_DUMP = """#!/bin/sh
for word in "$@"; do
  case "$word" in --file=*) file="${word#--file=}";; -f) next=1;; *) [ "${next:-}" ] && file="$word"; next=;; esac
done
echo dump > "${file:?}"
exit "${PG_DUMP_STATUS:-0}"
"""


def backup(exercise, folder, status):
    (folder / "pg_dump").write_text(PG_DUMP)
    (folder / "pg_dump").chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "DATABASE_URL": "x", "PG_DUMP_STATUS": status}
    done = subprocess.run(
        ["/bin/sh", "-c", exercise.BACKUP], cwd=folder, env=environment, check=False, capture_output=True
    )
    return done.returncode, [path.name for path in folder.glob("*.dump")]


def test_backup_gets_its_name_when_it_is_complete(exercise, tmp_path):
    assert "custom" in exercise.BACKUP or "-Fc" in exercise.BACKUP
    status, dumps = backup(exercise, tmp_path, "0")
    assert (status, len(dumps)) == (0, 1), "one file *.dump / 一个 *.dump 文件"


def test_broken_dump_is_no_backup(exercise, tmp_path):
    status, dumps = backup(exercise, tmp_path, "1")
    assert status != 0
    assert dumps == []
