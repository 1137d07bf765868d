from __future__ import annotations

import json
import logging
import warnings

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.serve.logs.setup import ACCESS, LogOptions, logging_to_stderr

OURS = logging.getLogger("adaptertune_deploy.test")


def say(options: LogOptions) -> None:
    with logging_to_stderr(options):
        for level in ("debug", "info", "warning", "error"):
            getattr(OURS, level)(level)
        logging.getLogger("uvicorn.error").info("started")
        logging.getLogger(ACCESS).info("asked")


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_lines_below_the_level_and_the_small_talk_of_libraries_are_left_out(
    capsys: pytest.CaptureFixture[str], level: str, count: int
) -> None:
    say(LogOptions(level=level))
    found = [line.split()[-1] for line in capsys.readouterr().err.splitlines()]
    assert found == ["debug", "info", "warning", "error"][-count:]


def test_requests_are_logged_where_that_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    say(LogOptions("json", "info", access=True))
    found = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["logger"], line["message"]) for line in found][-1] == (ACCESS, "asked")


def test_warnings_of_python_are_lines_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr(LogOptions("json")), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("an old call", stacklevel=1)
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["logger"] == "py.warnings"
    assert "an old call" in json.loads(line)["message"]


def test_everything_is_as_before_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    say(LogOptions(level="debug"))
    capsys.readouterr()
    assert (root.level, root.handlers) == before
    OURS.warning("later")
    assert "later" not in capsys.readouterr().err
    assert logging.getLogger(ACCESS).level == logging.NOTSET


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"form": "jsn"}, "--log-format jsn: expected one of text, json. Did you mean 'json'?"),
        ({"level": "loud"}, "--log-level loud: expected one of debug, info, warning, error"),
        ({"level": "INFO"}, "--log-level INFO: expected one of debug, info, warning, error"),
    ],
)
def test_other_words_are_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        LogOptions(**options)  # type: ignore[arg-type]
    assert str(caught.value) == message
