"""Small project of stage 1: read many sensors at once, and report their values. Nothing new, everything together."""

import asyncio  # noqa: F401  you need it
from collections.abc import Awaitable, Callable, Mapping

from pydantic import BaseModel

Read = Callable[[], Awaitable[dict[str, object]]]  # reads one sensor; raises ConnectionError now and then


class Reading(BaseModel):
    # TODO: `place`, a string that is not empty, and `celsius`, a number from -90 to 60
    #       place：非空字符串；celsius：-90 到 60 之间的数
    pass


class Report(BaseModel):
    # TODO: `readings`, a list of Reading, and `failed`, a dictionary from the sensor's name to the reason
    #       readings：Reading 的列表；failed：从传感器名字到失败原因的字典
    pass


def retry(times: int):
    """Return a decorator for async functions: after a ConnectionError it tries again, `times` times in all."""
    # TODO: the third level is an async function; keep the name of the decorated one; raise the last error
    #       第三层是异步函数；保留被装饰函数的名字；最后一次的错误要抛出
    raise NotImplementedError


async def collect(sensors: Mapping[str, Read], limit: int = 4) -> Report:
    """Read all sensors concurrently, at most `limit` at once; readings have the order of the sensors."""
    # TODO: three attempts for each; a sensor that fails, or whose data are invalid, is in `failed`, and harms no other
    #       每个最多试三次；失败的或数据不合格的传感器记入 failed，不影响其他的
    return Report()
