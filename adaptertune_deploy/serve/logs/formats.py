"""A record of the log as one line of text, or as one JSON document a line.

Besides its message a record may carry facts, `extra={"facts": {...}}`: JSON shows each under its own name, text leaves
them to the message. A record about several requests names them so, under `request_ids`.
"""

from __future__ import annotations

import json
import logging
import re
from datetime import datetime, timezone
from typing import Any

from adaptertune_deploy.serve.logs.context import current

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class TextFormatter(logging.Formatter):
    """For people: time, level, message and request; what a client sent can't begin a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; a traceback follows it, indented."""
        context = current.get()
        words = [_time(record), f"{record.levelname:<7}", CONTROL.sub(_spelled, record.getMessage())]
        words += [f"request={context.request_id}"] if context.request_id else []
        words += [f"trace={context.trace_id}"] if context.trace_id else []
        lines = (self.formatException(record.exc_info) if record.exc_info else "").splitlines()
        return "\n".join([" ".join(words), *(f"  {line}" for line in lines)])


class JsonFormatter(logging.Formatter):
    """For machines: an object with time, level, logger, message, and where there are such request, trace, facts."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        context = current.get()
        document: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        document |= {"request_id": context.request_id} if context.request_id else {}
        document |= {"trace_id": context.trace_id} if context.trace_id else {}
        document |= getattr(record, "facts", {})
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, default=str)


FORMATS: dict[str, type[logging.Formatter]] = {"text": TextFormatter, "json": JsonFormatter}


def _time(record: logging.LogRecord) -> str:
    """Return when it was written, in UTC as RFC 3339 spells it, with milliseconds."""
    moment = datetime.fromtimestamp(record.created, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def _spelled(found: re.Match[str]) -> str:
    return f"\\x{ord(found[0]):02x}"
