"""Structured logs: one JSON object a line, with the identifier of the request, and without secrets."""

import json
import logging
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="-")
SECRETS = {"password", "token", "api_key"}


class JsonFormatter(logging.Formatter):
    """Formats a record as JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line: `level`, `message`, `request_id`, and the fields of `extra={"fields": {…}}`."""
        line = {"level": record.levelname, "message": record.getMessage(), "request_id": request_id.get()}
        for name, value in getattr(record, "fields", {}).items():
            line[name] = "***" if name in SECRETS else value
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
        return json.dumps(line, ensure_ascii=False, default=str)
