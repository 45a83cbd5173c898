import io
import json
import logging
from datetime import date

import pytest


@pytest.fixture
def output():
    return io.StringIO()


@pytest.fixture
def logger(exercise, output):
    made = logging.Logger("exercise")  # noqa: LOG001  a new one for each check
    handler = logging.StreamHandler(output)
    handler.setFormatter(exercise.JsonFormatter())
    made.addHandler(handler)
    return made


def test_line_is_json(logger, output):
    logger.warning("%d documents", 3)
    assert json.loads(output.getvalue()) == {"level": "WARNING", "message": "3 documents", "request_id": "-"}


def test_line_has_the_request_and_fields(exercise, logger, output):
    exercise.request_id.set("r1")
    logger.info("answered", extra={"fields": {"tokens": 42}})
    line = json.loads(output.getvalue())
    assert (line["request_id"], line["tokens"]) == ("r1", 42)
    exercise.request_id.set("-")


def test_secrets_are_masked(logger, output):
    logger.info("sign-in", extra={"fields": {"user": "ada", "password": "hunter2"}})
    assert json.loads(output.getvalue())["password"] == "***"
    assert "hunter2" not in output.getvalue()


def test_line_breaks_stay_in_one_line(logger, output):
    logger.info("forged\n{}")
    assert output.getvalue().count("\n") == 1


def test_error_is_named(logger, output):
    try:
        print(1 / 0)
    except ZeroDivisionError:
        logger.exception("failed")
    assert json.loads(output.getvalue())["error"] == "ZeroDivisionError"


def test_any_value_can_be_logged(logger, output):
    logger.info("due", extra={"fields": {"day": date(2026, 1, 2)}})
    assert json.loads(output.getvalue())["day"] == "2026-01-02"
