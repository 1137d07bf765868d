from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator

import pytest

from adaptertune_deploy.serve.logs.context import RequestContext, current
from adaptertune_deploy.serve.logs.formats import FORMATS

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def request_context() -> Iterator[None]:
    token = current.set(RequestContext("mine-1", TRACE))
    yield
    current.reset(token)


def record(message: str = "%d rows", *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("a.b", logging.WARNING, "file", 1, message, arguments, None)
    made.created = 1_700_000_000.0625
    made.__dict__ |= extra
    return made


def failed() -> logging.LogRecord:
    try:
        raise RuntimeError("first\n2026-01-01T00:00:00.000Z ERROR   a line of its own")
    except RuntimeError:
        made = record("it failed")
        made.exc_info = sys.exc_info()
        return made


def show(form: str, made: logging.LogRecord) -> str:
    return FORMATS[form]().format(made)


def test_text_outside_of_requests_has_time_level_and_message() -> None:
    assert show("text", record("%d rows", 3)) == "2023-11-14T22:13:20.062Z WARNING 3 rows"


@pytest.mark.usefixtures("request_context")
def test_text_names_request_and_trace() -> None:
    expected = "2023-11-14T22:13:20.062Z WARNING no request=mine-1 trace=0af7651916cd43dd8448eb211c80319c"
    assert show("text", record("no")) == expected


@pytest.mark.parametrize("letter", ["\n", "\r", "\x1b", "\x00", "\x85", "\u2028", "\x7f"])
def test_what_a_client_sent_can_not_begin_a_line_or_steer_a_terminal(letter: str) -> None:
    line = show("text", record("GET %s", f"/{letter}[31m"))
    assert line.endswith(f"GET /\\x{ord(letter):02x}[31m")
    assert len(line.splitlines()) == 1
    assert len(show("json", record("GET %s", f"/{letter}[31m")).splitlines()) == 1


def test_a_traceback_stands_indented_below_its_line() -> None:
    first, *rest = show("text", failed()).splitlines()
    assert first.endswith("it failed")
    assert rest[0] == "  Traceback (most recent call last):"
    assert rest[-1].startswith("  2026-01-01T00:00:00.000Z ERROR")
    assert all(line.startswith("  ") for line in rest)


@pytest.mark.usefixtures("request_context")
def test_json_is_one_document_with_all_that_is_known() -> None:
    facts = {"status": 503, "request_ids": ["a", "b"]}
    assert json.loads(show("json", record("%d rows", 3, facts=facts))) == {
        "time": "2023-11-14T22:13:20.062Z",
        "level": "warning",
        "logger": "a.b",
        "message": "3 rows",
        "request_id": "mine-1",
        "trace_id": "0af7651916cd43dd8448eb211c80319c",
        "status": 503,
        "request_ids": ["a", "b"],
    }


def test_json_holds_a_traceback_and_leaves_out_what_there_is_not() -> None:
    line = show("json", failed())
    document = json.loads(line)
    assert len(line.splitlines()) == 1
    assert document["exception"].startswith("Traceback (most recent call last):\n")
    assert set(document) == {"time", "level", "logger", "message", "exception"}
