"""Small project of stage 1: read many sensors at once, and report their values. Nothing new, everything together."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import ParamSpec, TypeVar

from pydantic import BaseModel, Field, ValidationError

Read = Callable[[], Awaitable[dict[str, object]]]  # reads one sensor; raises ConnectionError now and then
P = ParamSpec("P")
T = TypeVar("T")


class Reading(BaseModel):
    place: str = Field(min_length=1)
    celsius: float = Field(ge=-90, le=60)


class Report(BaseModel):
    readings: list[Reading]
    failed: dict[str, str]


def retry(times: int) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """Return a decorator for async functions: after a ConnectionError it tries again, `times` times in all."""

    def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        @wraps(function)
        async def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
            for _ in range(times - 1):
                try:
                    return await function(*args, **kwargs)
                except ConnectionError:
                    continue
            return await function(*args, **kwargs)

        return wrapper

    return decorate


async def collect(sensors: Mapping[str, Read], limit: int = 4) -> Report:
    """Read all sensors concurrently, at most `limit` at once; readings have the order of the sensors."""
    slots = asyncio.Semaphore(limit)

    async def one(read: Read) -> Reading | str:
        try:
            async with slots:
                return Reading.model_validate(await retry(3)(read)())
        except (ConnectionError, ValidationError) as error:
            return str(error)

    async with asyncio.TaskGroup() as group:
        tasks = {name: group.create_task(one(read)) for name, read in sensors.items()}
    results = {name: task.result() for name, task in tasks.items()}
    return Report(
        readings=[result for result in results.values() if isinstance(result, Reading)],
        failed={name: result for name, result in results.items() if isinstance(result, str)},
    )
