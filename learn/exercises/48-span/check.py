import asyncio
import re
from types import ModuleType
from typing import Any

import pytest


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def tracer(exercise: ModuleType) -> Any:
    return exercise.Tracer(_Clock())


def test_span_has_a_duration_and_attributes(tracer: Any) -> None:
    with tracer.span("model", tokens=42) as span:
        assert tracer.finished == [], "a span is finished after its block / 代码块结束之后 span 才算结束"
    assert tracer.finished == [span]
    assert (span.name, span.started, span.ended, span.attributes) == ("model", 1, 2, {"tokens": 42})


def test_inner_span_is_a_child(tracer: Any) -> None:
    with tracer.span("run") as run:
        with tracer.span("model") as model, tracer.span("retry") as retry:
            pass
        with tracer.span("tool") as tool:
            pass
    assert run.parent_id is None
    assert (model.parent_id, retry.parent_id) == (run.span_id, model.span_id)
    assert tool.parent_id == run.span_id, "the span around is the current one again / 外层 span 要重新成为当前的"
    assert {span.trace_id for span in tracer.finished} == {run.trace_id}
    assert [span.name for span in tracer.finished] == ["retry", "model", "tool", "run"]


def test_each_outermost_span_is_a_trace(tracer: Any) -> None:
    with tracer.span("first") as first:
        pass
    with tracer.span("second") as second:
        pass
    assert first.trace_id != second.trace_id
    assert re.fullmatch("[0-9a-f]{32}", first.trace_id)


def test_error_is_recorded_and_goes_on(tracer: Any) -> None:
    with pytest.raises(TimeoutError), tracer.span("run"), tracer.span("tool"):
        raise TimeoutError
    tool, run = tracer.finished
    assert (tool.error, run.error) == ("TimeoutError", "TimeoutError")
    assert tool.ended is not None
    with tracer.span("next") as following:
        pass
    assert following.parent_id is None


def test_concurrent_tasks_have_the_same_parent(tracer: Any) -> None:
    async def call(name: str) -> None:
        with tracer.span(name):
            await asyncio.sleep(0)

    async def main() -> None:
        with tracer.span("run"):
            await asyncio.gather(call("one"), call("two"))

    asyncio.run(main())
    one, two, run = tracer.finished
    assert {one.parent_id, two.parent_id} == {run.span_id}


def test_another_process_continues_the_trace(exercise: ModuleType, tracer: Any) -> None:
    assert exercise.traceparent() is None
    with tracer.span("request") as request:
        header = exercise.traceparent()
    assert header == f"00-{request.trace_id}-{request.span_id}-01"

    with tracer.span("work", traceparent=header) as work:
        assert exercise.traceparent() == f"00-{request.trace_id}-{work.span_id}-01"
    assert (work.trace_id, work.parent_id) == (request.trace_id, request.span_id)
