from __future__ import annotations

import logging
from typing import Any

import pytest

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.protocol.fixed_settings import TRACING, check_unchanged, log_settings


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (logging.DEBUG, (True, True, True, 1)),
        (logging.INFO, (True, True, True, 0)),
        (logging.WARNING, (False, True, True, 0)),
        (logging.ERROR, (False, False, True, 0)),
    ],
)
def test_the_settings_of_the_log_are_those_that_hold(
    caplog: pytest.LogCaptureFixture, level: int, expected: tuple[bool | int, ...]
) -> None:
    with caplog.at_level(level):
        found = log_settings()
    names = ("log_info", "log_warning", "log_error", "log_verbose_level")
    assert tuple(found[name] for name in names) == expected


def test_to_ask_for_what_holds_or_for_the_default_is_no_change() -> None:
    for fixed in (log_settings(), TRACING):
        check_unchanged({}, fixed)
        check_unchanged(fixed, fixed)
        check_unchanged(dict.fromkeys(fixed), fixed)


@pytest.mark.parametrize(
    ("given", "status", "text"),
    [
        ({"log_info": 7}, 403, "setting 'log_info' is fixed"),
        ({"log_verbose_level": 9}, 403, "setting 'log_verbose_level' is fixed"),
        ({"log_verbos_level": 0}, 400, "unknown setting 'log_verbos_level', only log_file"),
        ({"x" * 500: 0}, 400, f"unknown setting '{'x' * 60}', only"),
    ],
)
def test_a_change_is_refused(given: dict[str, Any], status: int, text: str) -> None:
    with pytest.raises(RequestError, match=text) as caught:
        check_unchanged(given, log_settings())
    assert caught.value.status == status
