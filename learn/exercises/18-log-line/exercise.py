"""Structured logs: one JSON object a line, with the identifier of the request, and without secrets."""

import json  # noqa: F401  you need it
import logging
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="-")
SECRETS = {"password", "token", "api_key"}


class JsonFormatter(logging.Formatter):
    """Formats a record as JSON."""

    def format(self, record):
        """Return one line: `level`, `message`, `request_id`, and the fields of `extra={"fields": {…}}`."""
        # TODO: `record.levelname`, `record.getMessage()`, and `getattr(record, "fields", {})`. A field whose name is in
        #       SECRETS has the value "***". An exception (`record.exc_info`) becomes the field `error`, the name of its class.
        #       字段名在 SECRETS 里的，值写成 "***"；异常（record.exc_info）写进字段 error，内容是异常类名。
        return record.getMessage()
