import asyncio

import pytest
from pydantic import ValidationError


def sensor(place="Rome", celsius=20.5, failures=0):
    left = [failures]

    async def read():
        await asyncio.sleep(0)
        if left[0]:
            left[0] -= 1
            raise ConnectionError("no answer")
        return {"place": place, "celsius": celsius}

    return read


def test_reading_is_validated(exercise):
    reading = exercise.Reading.model_validate({"place": "Rome", "celsius": "20.5"})
    assert (reading.place, reading.celsius) == ("Rome", 20.5)
    for wrong in ({"place": "", "celsius": 1}, {"place": "Rome", "celsius": 61}, {"place": "Rome"}):
        with pytest.raises(ValidationError):
            exercise.Reading.model_validate(wrong)


def test_retry_tries_again(exercise):
    calls = []

    @exercise.retry(3)
    async def read(name):
        calls.append(name)
        if len(calls) < 3:
            raise ConnectionError
        return name.upper()

    assert asyncio.run(read("a")) == "A"
    assert calls == ["a"] * 3
    assert read.__name__ == "read", "use functools.wraps / 用 functools.wraps"


def test_retry_gives_up_and_lets_other_errors_pass(exercise):
    calls = []

    @exercise.retry(2)
    async def read(error):
        calls.append(1)
        raise error

    with pytest.raises(ConnectionError):
        asyncio.run(read(ConnectionError("gone")))
    with pytest.raises(ValueError, match="wrong"):
        asyncio.run(read(ValueError("wrong")))
    assert len(calls) == 2 + 1


def test_report_has_readings_in_order_and_failures(exercise):
    sensors = {
        "a": sensor("Rome", failures=2),
        "b": sensor(failures=3),
        "c": sensor("Oslo", -5),
        "d": sensor("Mars", -120),
    }
    report = asyncio.run(exercise.collect(sensors))
    assert [reading.place for reading in report.readings] == ["Rome", "Oslo"]
    assert set(report.failed) == {"b", "d"}
    assert "no answer" in report.failed["b"]
    assert "celsius" in report.failed["d"]


def test_sensors_are_read_concurrently_within_the_limit(exercise):
    reading, most = [0], [0]

    async def read():
        reading[0] += 1
        most[0] = max(most[0], reading[0])
        await asyncio.sleep(0.01)
        reading[0] -= 1
        return {"place": "Rome", "celsius": 1}

    report = asyncio.run(exercise.collect({str(number): read for number in range(9)}, limit=3))
    assert len(report.readings) == 9
    assert most[0] == 3


def test_report_is_json(exercise):
    report = asyncio.run(exercise.collect({"a": sensor()}))
    assert report.model_dump() == {"readings": [{"place": "Rome", "celsius": 20.5}], "failed": {}}
