"""The check list: complete, about what there is, and honest where something does not pass."""

from pathlib import Path

import pytest

from learn import checklist, containers
from learn.checklist import Item
from learn.language import Said
from learn.places import find
from learn.stages import ROOT
from tests.learn.test_practice import exists

PLAN = [f"C{stage}.{number}" for stage in range(1, 7) for number in range(1, 4)]

DOCKERFILE = """
FROM python:3.13-slim AS packages
RUN pip install --requirement project1.lock
FROM python:3.13-slim
COPY --from=packages /packages /packages
HEALTHCHECK CMD ["python", "-m", "check"]
USER 10001:10001
"""
COMPOSE = """
services:
  api: {build: ., environment: {JWT_SECRET: "${JWT_SECRET:?}"}}
  postgres: {image: "pgvector/pgvector:pg18", healthcheck: {test: pg_isready}, volumes: ["data:/data"]}
  redis: {image: "redis:8", healthcheck: {test: redis-cli ping}, volumes: ["events:/data"]}
"""


def test_every_item_of_the_plan_is_there_once() -> None:
    assert [item.id for item in checklist.items()] == PLAN


@pytest.mark.parametrize("item", checklist.items(), ids=lambda item: item.id)
def test_an_item_names_what_there_is(item: Item) -> None:
    assert item.tests or item.probe, f"{item.id}: nothing shows it"
    assert item.places, f"{item.id}: nowhere to look"
    for place in item.places:
        find(ROOT, place)
    assert [test for test in item.tests if not exists(test)] == [], f"{item.id} names tests that there are not"


def item(**changes: object) -> Item:
    said = Said(en="x", zh="x")
    given = {"id": "C1.1", "can": said, "tried": said, "why": said, "places": ["shared/app.py:build_app"]}
    return Item.model_validate(given | changes)


def test_what_fails_is_said_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_good(): pass\ndef test_bad(): assert 1 == 2\n")
    (tmp_path / "test_broken.py").write_text("import there_is_no_such_module\n")

    shown = checklist.run(
        [
            item(tests=["test_it.py::test_good"]),
            item(tests=["test_it.py::test_bad"]),
            item(tests=["test_broken.py::test_it"]),
        ],
        tmp_path,
    )

    assert [one.wrong for one in shown] == [
        [],
        ["test_it.py::test_bad: assert 1 == 2"],
        ["test_broken.py::test_it: did not run: ModuleNotFoundError: No module named 'there_is_no_such_module'"],
    ]


def test_the_files_of_a_deployment_are_read(tmp_path: Path) -> None:
    assert checklist.run([item(probe="containers")], tmp_path)[0].wrong == [
        "there is no Dockerfile",
        "there is no docker-compose.yml",
    ]
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "docker-compose.yml").write_text(COMPOSE)
    assert containers.faults(tmp_path) == []


@pytest.mark.parametrize(
    ("instead_of", "given", "fault"),
    [
        ("USER 10001:10001", "USER root", "a container runs as root"),
        ("USER 10001:10001\n", "", "a container runs as root"),
        ("FROM python:3.13-slim AS packages\n", "", "the Dockerfile has one step only"),
        ("HEALTHCHECK", "# HEALTHCHECK", "the image does not say how its health is checked"),
        ("pgvector/pgvector:pg18", "mysql:9", "the compose file does not start PostgreSQL"),
        (', volumes: ["events:/data"]', "", "Redis has no health check or keeps nothing"),
        ("${JWT_SECRET:?}", "hunter2", "a secret of api stands in the compose file"),
        ("build: .", "image: other", "no service of the compose file is built from this project"),
    ],
)
def test_what_is_wrong_with_them_is_named(tmp_path: Path, instead_of: str, given: str, fault: str) -> None:
    (tmp_path / "Dockerfile").write_text(DOCKERFILE.replace(instead_of, given))
    (tmp_path / "docker-compose.yml").write_text(COMPOSE.replace(instead_of, given))

    (found,) = containers.faults(tmp_path)

    assert found.startswith(fault)
