from __future__ import annotations

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.serve.settings import Settings


def test_defaults_are_the_documented_limits() -> None:
    settings = Settings()
    assert settings.body_limit == 20_000_000
    assert settings.max_pixels == 50_000_000
    assert settings.queue_limit >= settings.max_request_rows >= settings.max_batch


@pytest.mark.parametrize(
    "name", ["max_batch", "max_request_rows", "queue_limit", "body_limit", "max_pixels", "decode_threads"]
)
def test_a_limit_below_one_is_refused_by_name(name: str) -> None:
    with pytest.raises(UsageError, match=f"{name} is 0, expected at least 1"):
        Settings(**{name: 0})


@pytest.mark.parametrize(("name", "value"), [("drain_delay", -1.0), ("drain_timeout", float("nan"))])
def test_a_time_that_is_none_is_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name} is .*, expected 0 or more seconds"):
        Settings(**{name: value})


def test_the_queue_must_hold_the_largest_request() -> None:
    with pytest.raises(UsageError, match="queue_limit is 10 rows, less than the 64"):
        Settings(queue_limit=10)
