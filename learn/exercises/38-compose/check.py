from types import ModuleType
from typing import Any

import pytest
import yaml


@pytest.fixture
def compose(exercise: ModuleType) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml.safe_load(exercise.COMPOSE)
    return parsed


def _environment(service: dict[str, Any]) -> dict[str, str]:
    environment = service.get("environment", {})
    return dict(one.split("=", 1) for one in environment) if isinstance(environment, list) else environment


@pytest.mark.parametrize(("name", "word"), [("postgres", "pg_isready"), ("redis", "ping"), ("api", "/ready")])
def test_each_service_has_a_health_check(compose: dict[str, Any], name: str, word: str) -> None:
    test = compose["services"][name].get("healthcheck", {}).get("test", "")
    assert word in (test if isinstance(test, str) else " ".join(test))
    if isinstance(test, list):
        assert test[0] in {"CMD", "CMD-SHELL"}, "a list begins with CMD or CMD-SHELL / 列表要以 CMD 或 CMD-SHELL 开头"


@pytest.mark.parametrize("name", ["postgres", "redis"])
def test_api_waits_until_the_others_are_healthy(compose: dict[str, Any], name: str) -> None:
    waits = compose["services"]["api"]["depends_on"]
    assert isinstance(waits, dict), (
        "a list waits only until the container is started / 列表形式只等容器启动，不等它健康"
    )
    assert waits[name]["condition"] == "service_healthy"


def test_services_find_each_other_by_name(compose: dict[str, Any]) -> None:
    environment = _environment(compose["services"]["api"])
    assert "@postgres:5432/" in environment["DATABASE_URL"], (
        "in the container, localhost is the container itself / 容器里的 localhost 是容器自己"
    )
    assert environment["REDIS_URL"].startswith("redis://redis:6379")


def test_password_comes_from_the_environment(compose: dict[str, Any]) -> None:
    services = compose["services"]
    password = _environment(services["postgres"])["POSTGRES_PASSWORD"]
    assert password.startswith("${POSTGRES_PASSWORD"), (
        "a password in the file is a password in git / 写进文件的密码就进了 git"
    )
    assert "${POSTGRES_PASSWORD" in _environment(services["api"])["DATABASE_URL"]


def test_data_are_in_a_named_volume(compose: dict[str, Any]) -> None:
    volumes = [str(one).split(":") for one in compose["services"]["postgres"].get("volumes", [])]
    names = [parts[0] for parts in volumes if parts[1:2] == ["/var/lib/postgresql/data"]]
    assert names, "without a volume the data are deleted with the container / 没有卷，数据会随容器一起删除"
    assert names[0] in (compose.get("volumes") or {}), (
        "a named volume is declared at the end of the file / 命名卷要在文件末尾声明"
    )


def test_only_the_api_is_published_on_loopback(compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if service.get("ports")}
    assert list(published) == ["api"]
    assert all(str(port).startswith("127.0.0.1:") for port in published["api"]), (
        "8000:8000 is open to the network / 8000:8000 对整个网络开放"
    )
