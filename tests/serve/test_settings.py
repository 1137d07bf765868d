from __future__ import annotations

import dataclasses
import inspect

import pytest

from adaptertune_deploy.cli.serve import serve
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.preprocess import MAX_PIXELS
from adaptertune_deploy.engines.limits import Limits
from adaptertune_deploy.serve.settings import OPTIONS, Settings, fitting


def test_defaults_are_the_documented_limits() -> None:
    settings = Settings()
    assert settings.body_limit == 20_000_000
    assert settings.max_pixels == MAX_PIXELS == 50_000_000
    assert settings.queue_limit >= settings.max_request_rows >= settings.max_batch


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_batch": 0}, "--max-batch 0: expected at least 1"),
        ({"max_batch": 1 << 60}, f"--max-batch {1 << 60}: expected at most 4096"),
        ({"queue_limit": -3}, "--queue-limit -3: expected at least 1"),
        ({"max_request_rows": 0}, "max_request_rows 0: expected at least 1"),
        ({"body_limit": 0}, "body_limit 0: expected at least 1"),
        ({"max_pixels": 0}, "max_pixels 0: expected at least 1"),
        ({"decode_threads": 0}, "decode_threads 0: expected at least 1"),
        ({"drain_delay": -1.0}, "--drain-delay -1: expected 0 or more seconds"),
        ({"drain_timeout": float("nan")}, "drain_timeout nan: expected 0 or more seconds"),
    ],
)
def test_an_impossible_limit_is_refused_by_the_name_that_was_typed(change: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings(**change)
    assert str(caught.value) == message


def test_a_queue_of_no_rows_is_blamed_before_what_follows_from_it() -> None:
    with pytest.raises(UsageError, match=r"^--queue-limit 0: expected at least 1$"):
        Settings(queue_limit=0, max_request_rows=0)


def test_the_queue_must_hold_the_largest_request() -> None:
    with pytest.raises(UsageError, match="max_request_rows 64: expected at most 10, the rows that --queue-limit lets"):
        Settings(queue_limit=10)


def test_every_option_named_is_one_of_atd_serve() -> None:
    parameters = inspect.signature(serve).parameters
    assert set(OPTIONS) <= set(parameters)
    assert {field.name for field in dataclasses.fields(Settings)} & set(parameters) == set(OPTIONS)


def test_batches_get_no_larger_than_the_engine_takes() -> None:
    settings = Settings(max_batch=8)
    assert fitting(settings, Limits()) is settings
    assert fitting(settings, Limits(max_rows=8)) is settings
    assert fitting(settings, Limits(max_rows=3)) == Settings(max_batch=3)
