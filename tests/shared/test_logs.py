"""Logs: readable in development, one JSON object a line in production, and never a secret."""

import io
import json
import logging
import os
from collections.abc import Callable, Iterator

import pytest
from loguru import logger

from project1_qa_api.settings import Settings
from shared.logs import configure_logging

KEY = "sk-0123456789abcdef"


@pytest.fixture
def log(make_settings: Callable[..., Settings]) -> Iterator[Callable[[str], io.StringIO]]:
    def configure(app_env: str) -> io.StringIO:
        stream = io.StringIO()
        configure_logging(make_settings(app_env=app_env, openai_api_key=KEY), stream)
        return stream

    yield configure
    configure_logging(make_settings())


def test_production_logs_one_json_object_per_line(log: Callable[[str], io.StringIO]) -> None:
    stream = log("production")

    with logger.contextualize(request_id="r1"):
        logger.bind(run="x").info("two\nlines {}", "and an argument")
    logging.getLogger("some.library").warning("from %s", "elsewhere")

    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert first["message"] == "two\nlines and an argument"
    assert (first["level"], first["request_id"], first["run"]) == ("INFO", "r1", "x")
    assert first["logger"] == __name__
    assert (second["logger"], second["level"], second["message"]) == ("some.library", "WARNING", "from elsewhere")


def test_exception_is_logged_in_one_line(log: Callable[[str], io.StringIO]) -> None:
    stream = log("production")

    try:
        os.environ["MISSING"]
    except KeyError:
        logger.exception("it failed")

    (line,) = stream.getvalue().splitlines()
    assert "KeyError: 'MISSING'" in json.loads(line)["exception"]


def test_development_log_lines_resist_injection(log: Callable[[str], io.StringIO]) -> None:
    stream = log("development")

    with logger.contextualize(request_id="0123456789"):
        logger.info("GET /a\nFORGED {}", 1)

    (line,) = stream.getvalue().splitlines()
    assert "INFO" in line
    assert "01234567 " in line
    assert "GET /a\\nFORGED 1" in line


@pytest.mark.parametrize("app_env", ["development", "production"])
@pytest.mark.parametrize("character", ["\x1b", "\x7f", "\x85", "\x9b", "\u2028", "\u202e", "\u2066"])
def test_log_lines_show_control_characters_as_text(
    log: Callable[[str], io.StringIO], app_env: str, character: str
) -> None:
    stream = log(app_env)

    logger.bind(name=f"b{character}").opt(exception=ValueError(f"c{character}.")).info("a{}", character)

    assert character not in stream.getvalue()
    assert stream.getvalue().count(f"\\u{ord(character):04x}") == 3


@pytest.mark.parametrize("app_env", ["development", "production"])
def test_secrets_are_masked_everywhere(log: Callable[[str], io.StringIO], app_env: str) -> None:
    stream = log(app_env)

    logger.info("Authorization: Bearer {}", KEY)
    logging.getLogger("library").error("the key %s was refused", KEY)
    logger.opt(exception=ValueError(f"bad key {KEY}")).error("it failed")

    assert KEY not in stream.getvalue()
    assert stream.getvalue().count("********") == 3


def test_settings_do_not_show_secrets(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(openai_api_key=KEY)

    assert KEY not in repr(settings)
    assert KEY not in str(settings.model_dump())
    assert settings.secrets() == [KEY]
