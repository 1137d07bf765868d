from __future__ import annotations

from typing import Any

import pytest

from adaptertune_deploy.core.errors import RequestError
from adaptertune_deploy.serve.protocol.fixed_settings import LOGGING, TRACING, check_unchanged


def test_to_ask_for_what_holds_or_for_the_default_is_no_change() -> None:
    for fixed in (LOGGING, TRACING):
        check_unchanged({}, fixed)
        check_unchanged(fixed, fixed)
        check_unchanged(dict.fromkeys(fixed), fixed)


@pytest.mark.parametrize(
    ("given", "status", "text"),
    [
        ({"log_info": False}, 403, "setting 'log_info' is fixed"),
        ({"log_verbose_level": 1}, 403, "setting 'log_verbose_level' is fixed"),
        ({"log_verbos_level": 0}, 400, "unknown setting 'log_verbos_level', only log_file"),
        ({"x" * 500: 0}, 400, f"unknown setting '{'x' * 60}', only"),
    ],
)
def test_a_change_is_refused(given: dict[str, Any], status: int, text: str) -> None:
    with pytest.raises(RequestError, match=text) as caught:
        check_unchanged(given, LOGGING)
    assert caught.value.status == status
