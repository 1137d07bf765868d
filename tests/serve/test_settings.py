from __future__ import annotations

import dataclasses

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.engines.limits import Limits
from adaptertune_deploy.serve.settings import FOUND_BATCH, Settings, largest_batch, option, variable


def test_defaults_are_the_documented_limits() -> None:
    settings = Settings()
    assert settings.body_limit == 20_000_000
    assert settings.keep_alive > 60  # what load balancers keep a connection for
    assert settings.queue_limit >= settings.max_request_rows >= FOUND_BATCH
    assert settings.max_batch is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"max_batch": 0}, "--max-batch 0: expected at least 1"),
        ({"max_batch": 1 << 60}, f"--max-batch {1 << 60}: expected at most 4096"),
        ({"instances": 65}, "--instances 65: expected at most 64"),
        ({"queue_limit": -3}, "--queue-limit -3: expected at least 1"),
        ({"max_header_bytes": 255}, "--max-header-bytes 255: expected at least 256"),
        ({"drain_delay": -1.0}, "--drain-delay -1: expected at least 0 seconds"),
        ({"header_timeout": 0.0}, "--header-timeout 0: expected at least 0.01 seconds"),
        ({"drain_timeout": float("nan")}, "--drain-timeout nan: expected at least 0 seconds"),
        ({"keep_alive": float("inf")}, "--keep-alive inf: expected at least 0.01 seconds"),
    ],
)
def test_an_impossible_limit_is_refused_by_the_name_that_was_typed(change: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings(**change)  # type: ignore[arg-type]
    assert str(caught.value) == message


@pytest.mark.parametrize("limit", dataclasses.fields(Settings), ids=lambda limit: limit.name)
def test_every_limit_says_what_it_is_and_refuses_less_than_its_least(limit: dataclasses.Field[float]) -> None:
    assert limit.metadata["text"].endswith(".")
    assert limit.metadata["unit"].isupper() or limit.metadata["unit"] == "N"
    with pytest.raises(UsageError, match=f"^{option(limit.name)} "):
        Settings(**{limit.name: limit.metadata["least"] - 1})


def test_no_request_is_larger_than_the_queue() -> None:
    assert Settings(queue_limit=10).largest_request == 10
    assert Settings(queue_limit=100).largest_request == 64


def test_names_for_people() -> None:
    assert (option("max_batch"), variable("max_batch")) == ("--max-batch", "ATD_MAX_BATCH")


def test_no_variable_is_that_of_the_cache_folder_and_no_two_are_the_same() -> None:
    names = [limit.name for limit in dataclasses.fields(Settings)]
    variables = [variable(name) for name in names]
    assert len(set(variables)) == len(names)
    assert "ATD_CACHE" not in variables
    assert (option("cache"), variable("cache")) == ("--cache", "ATD_RESPONSE_CACHE")


def test_the_response_cache_is_off_and_counts_megabytes() -> None:
    assert Settings().cache_bytes == 0
    assert Settings(cache=64).cache_bytes == 64_000_000


def test_batches_get_no_larger_than_the_engine_takes() -> None:
    for wanted in (Settings(max_batch=8), Settings()):
        assert [largest_batch(wanted, Limits(max_rows=most)) for most in (None, 8, 3)] == [8, 8, 3]
    assert largest_batch(Settings(max_batch=32), Limits()) == 32
