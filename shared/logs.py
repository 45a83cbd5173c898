"""Logging with loguru: readable lines in development, one JSON object per line in production.

The standard library's loggers (uvicorn, httpx2, openai, …) are routed into loguru. `logger.contextualize(request_id=…)`
adds fields to every line that is logged inside its block, including by tasks started there.
"""

import inspect
import json
import logging
import re
import sys
import traceback
from typing import TYPE_CHECKING, Any, TextIO

from loguru import logger

from shared.settings import Settings

if TYPE_CHECKING:
    from loguru import Message, Record

# Characters that a terminal executes or that hide other text: controls, line separators, changes of the direction.
_CONTROLS = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\u061c\\u200e\\u200f\\u202a-\\u202e\\u2066-\\u2069]")

# Loggers limited to warnings: at INFO each logs a line for every model request, which the service logs already.
_QUIET = ("httpx2", "httpcore2", "httpx", "httpcore", "openai", "asyncio", "urllib3")


def configure_logging(settings: Settings, stream: TextIO | None = None) -> None:
    """Write every log line of the process to a stream (standard error by default), with secrets masked."""
    stream = stream or sys.stderr
    render = _json_line if settings.production else _readable_line
    secrets = sorted((secret for secret in settings.secrets() if len(secret) >= 6), key=len, reverse=True)

    def write(message: "Message") -> None:
        line = render(message.record)
        for secret in secrets:
            line = line.replace(secret, "********")
        stream.write(line + "\n")
        stream.flush()

    # `diagnose` would print the values of variables, including questions and API keys.
    logger.remove()
    logger.add(write, level=settings.log_level, format="{message}", backtrace=False, diagnose=False)
    logging.basicConfig(handlers=[_Intercept()], level=settings.log_level.replace("TRACE", "DEBUG"), force=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _json_line(record: "Record") -> str:
    line: dict[str, Any] = {
        "time": record["time"].isoformat(),
        "level": record["level"].name,
        "logger": record["extra"].get("logger", record["name"]),
        "message": record["message"],
    }
    line |= {key: value for key, value in record["extra"].items() if key != "logger"}
    if record["exception"]:
        line["exception"] = _traceback(record)
    return _escape(json.dumps(line, default=str, ensure_ascii=False))


def _readable_line(record: "Record") -> str:
    extra = dict(record["extra"])
    name = extra.pop("logger", record["name"])
    request_id = str(extra.pop("request_id", "-"))[:8]
    context = "".join(f" {key}={value}" for key, value in extra.items())
    line = (
        f"{record['time']:HH:mm:ss.SSS} {record['level'].name:<7} {request_id:<8} {name}: {record['message']}{context}"
    )
    # Line breaks in a client's text would let it forge log lines, other controls what the terminal shows.
    return "\n".join(map(_escape, [line, *_traceback(record).split("\n")])) if record["exception"] else _escape(line)


def _escape(line: str) -> str:
    """Replace the control characters of a line by escapes that JSON understands too."""
    return _CONTROLS.sub(lambda match: _ESCAPES.get(match[0], f"\\u{ord(match[0]):04x}"), line)


_ESCAPES = {"\r": "\\r", "\n": "\\n", "\t": "\\t"}


def _traceback(record: "Record") -> str:
    exception = record["exception"]
    if exception is None:
        return ""
    return "".join(traceback.format_exception(exception.type, exception.value, exception.traceback)).rstrip()


class _Intercept(logging.Handler):
    """Forwards the standard library's records to loguru."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            level: str | int = logger.level(record.levelname).name
        except ValueError:
            level = record.levelno
        frame, depth = inspect.currentframe(), 0
        while frame and (depth == 0 or frame.f_code.co_filename == logging.__file__):
            frame, depth = frame.f_back, depth + 1
        logger.opt(depth=depth, exception=record.exc_info).bind(logger=record.name).log(level, record.getMessage())
