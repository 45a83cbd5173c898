from types import ModuleType
from typing import Any

import pytest


def _write(state: dict[str, Any]) -> str:
    return f"{state['topic']} {state.get('drafts', 0) + 1}"


@pytest.mark.parametrize(
    ("approved", "drafts", "node"),
    [(True, 1, "publish"), (False, 1, "write"), (False, 2, "write"), (False, 3, "publish")],
)
def test_next_node_depends_on_the_state(exercise: ModuleType, approved: bool, drafts: int, node: str) -> None:
    assert exercise.after_review({"approved": approved, "drafts": drafts}) == node


def test_approved_draft_is_published(exercise: ModuleType) -> None:
    state = exercise.build_graph(_write, lambda _: True).invoke({"topic": "Tea"})
    assert state["published"] == "Tea 1"
    assert state["notes"] == ["written", "approved", "published"]


def test_rejected_draft_is_written_again(exercise: ModuleType) -> None:
    graph = exercise.build_graph(_write, lambda state: state["draft"] == "Tea 2")
    state = graph.invoke({"topic": "Tea"})
    assert (state["published"], state["drafts"]) == ("Tea 2", 2)
    assert state["notes"] == ["written", "rejected", "written", "approved", "published"]


def test_loop_ends_after_three_drafts(exercise: ModuleType) -> None:
    state = exercise.build_graph(_write, lambda _: False).invoke({"topic": "Tea"}, {"recursion_limit": 10})
    assert (state["published"], state["drafts"], state["approved"]) == ("Tea 3", 3, False)


def test_each_step_reports_its_change(exercise: ModuleType) -> None:
    graph = exercise.build_graph(_write, lambda _: True)
    steps = [next(iter(update)) for update in graph.stream({"topic": "Tea"}, stream_mode="updates")]
    assert steps == ["write", "review", "publish"]
