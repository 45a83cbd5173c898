"""Records statements, connections, commands, embeddings and jobs, where the libraries execute them.

Each function takes the method of a library and returns the one that replaces it, once in a process. Outside a recorded
request or run, that one only looks whether there is a recorder.
"""

import functools
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from shared.xray.calls import recorded_calls
from shared.xray.recorder import Recorder, current, describe, recorded

Method = Callable[..., Any]
AsyncMethod = Callable[..., Awaitable[Any]]

_recorder_of_jobs: list[Recorder] = []  # the newest of the process
_replaced: set[tuple[type, str]] = set()


def record_libraries(recorder: Recorder) -> None:
    """Record the calls of the libraries that this stage has loaded."""
    _recorder_of_jobs[:] = [recorder]
    for module, name, method, replacement in (
        ("psycopg", "AsyncCursor", "execute", _statement),
        ("psycopg", "AsyncCursor", "executemany", _statement),
        ("psycopg", "AsyncConnection", "commit", _end_of_transaction),
        ("psycopg", "AsyncConnection", "rollback", _end_of_transaction),
        ("sqlalchemy.pool", "Pool", "connect", _checkout),
        ("shared.database.pool", "ConnectionPool", "getconn", _driver_checkout),
        ("shared.models.embeddings", "EndpointEmbeddings", "aembed_documents", _embedding),
        ("redis.asyncio", "Redis", "execute_command", _command),
        ("redis.asyncio.client", "Pipeline", "execute", _pipeline),
        ("procrastinate.jobs", "JobDeferrer", "defer_async", _stored_job),
        ("procrastinate", "App", "run_worker_async", _worker),
    ):
        if module in sys.modules:
            _replace(getattr(sys.modules[module], name), method, replacement)


def _replace(owner: type, name: str, replacement: Callable[[Method], Method]) -> None:
    if (owner, name) not in _replaced:
        _replaced.add((owner, name))
        original = getattr(owner, name)
        setattr(owner, name, functools.wraps(original)(replacement(original)))


def _statement(original: AsyncMethod) -> AsyncMethod:
    async def execute(cursor: Any, query: Any, params: Any = None, *args: Any, **options: Any) -> Any:  # noqa: ANN401  psycopg's signature
        recorder = current()
        if recorder is None:
            return await original(cursor, query, params, *args, **options)
        text = _text_of(query)
        with recorder.span("sql", text, statement=text, parameters=types_of(params)) as span:
            result = await original(cursor, query, params, *args, **options)
            describe(span, rows=cursor.rowcount)
            return result

    return execute


def _text_of(query: Any) -> str:  # noqa: ANN401  all that psycopg takes
    text = query.decode() if isinstance(query, bytes) else query if isinstance(query, str) else query.as_string(None)
    return " ".join(text.split())


def types_of(parameters: object) -> str:
    """Return the types of a statement's parameters, never their values."""
    match parameters:
        case Mapping():
            return ", ".join(f"{name}: {_type_of(value)}" for name, value in parameters.items())
        case Sequence() if not isinstance(parameters, str | bytes):
            return ", ".join(map(_type_of, parameters))
        case _:
            return ""


def _type_of(value: object) -> str:
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}[{', '.join(sorted({_type_of(item) for item in value[:100]}))}]"
    return type(value).__name__


def _end_of_transaction(original: AsyncMethod) -> AsyncMethod:
    async def end(connection: Any) -> None:  # noqa: ANN401  psycopg's connection
        is_open = connection.info.transaction_status.name != "IDLE"
        with recorded("sql", original.__name__.upper()) if is_open else nullcontext():
            await original(connection)

    return end


def _checkout(original: Method) -> Method:
    def connect(pool: Any) -> Any:  # noqa: ANN401  SQLAlchemy's signature
        if current() is None:
            return original(pool)
        used, size = pool.checkedout(), pool.size()
        with recorded("pool", "check out a connection", pool="orm", used=used, size=size):
            return original(pool)

    return connect


def _driver_checkout(original: AsyncMethod) -> AsyncMethod:
    async def getconn(pool: Any, timeout: float | None = None) -> Any:  # noqa: ANN401, ASYNC109  psycopg_pool's signature
        if current() is None:
            return await original(pool, timeout)
        size, available = (pool.get_stats()[name] for name in ("pool_size", "pool_available"))
        with recorded("pool", "check out a connection", pool=pool.name, used=size - available, size=pool.max_size):
            return await original(pool, timeout)

    return getconn


def _embedding(original: AsyncMethod) -> AsyncMethod:
    async def aembed_documents(model: Any, texts: list[str], *args: Any, **options: Any) -> Any:  # noqa: ANN401  LangChain's signature
        details = {"model": model.model, "texts": len(texts), "characters": sum(map(len, texts))}
        with recorded("embedding", f"embed with {model.model}", **details):
            return await original(model, texts, *args, **options)

    return aembed_documents


def _command(original: AsyncMethod) -> AsyncMethod:
    async def execute_command(client: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401  redis-py's signature
        with recorded("redis", str(args[0])):
            return await original(client, *args, **options)

    return execute_command


def _pipeline(original: AsyncMethod) -> AsyncMethod:
    async def execute(pipeline: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401  redis-py's signature
        with recorded("redis", "pipeline", commands=len(pipeline)):
            return await original(pipeline, *args, **options)

    return execute


def _stored_job(original: AsyncMethod) -> AsyncMethod:
    async def defer_async(deferrer: Any, **arguments: Any) -> int:  # noqa: ANN401  procrastinate's signature
        with recorded("queue", f"store job {deferrer.job.task_name}", queue=deferrer.job.queue) as span:
            job_id: int = await original(deferrer, **arguments)
            if span:
                span.set_attribute("xray.link", f"job:{job_id}")
            return job_id

    return defer_async


def _worker(original: AsyncMethod) -> AsyncMethod:
    async def run_worker_async(app: Any, **options: Any) -> None:  # noqa: ANN401  procrastinate's signature
        await original(app, worker_middleware=[_job], **options)

    return run_worker_async


async def _job(call_next: AsyncMethod, context: Any, _worker: object) -> Any:  # noqa: ANN401  procrastinate's signature
    (recorder,), job = _recorder_of_jobs, context.job
    function = context.task.func if context.task else None
    details = {"queue": job.queue, "attempt": job.attempts + 1}
    with (
        recorder.active(),
        recorder.span("worker", f"job {job.task_name}", function, link=f"job:{job.id}", **details),
        recorded_calls(recorder),
    ):
        return await call_next()
