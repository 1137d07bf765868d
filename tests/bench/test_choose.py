from __future__ import annotations

import pytest

from adaptertune_deploy.bench.choose import choose
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.precision import Precision
from tests.bench.planted import tried

UNTUNED = tried(batch=8, milliseconds=80)  # 100 images a second


def test_the_most_images_a_second_win() -> None:
    fast = tried("openvino", batch=4, milliseconds=20)
    assert choose([UNTUNED, tried(batch=4, milliseconds=36), fast]) is fast


def test_what_is_faster_by_noise_alone_changes_nothing() -> None:
    assert choose([UNTUNED, tried(batch=1, milliseconds=9.8)]) is UNTUNED
    faster = tried(batch=1, milliseconds=9.6)
    assert choose([UNTUNED, faster]) is faster


def test_of_equals_the_most_exact_then_the_smallest_batch_then_the_fewest_threads_win() -> None:
    exact = tried("openvino", batch=16, milliseconds=80, threads=2)
    bf16 = tried("openvino", Precision.BF16, batch=4, milliseconds=20)
    assert choose([UNTUNED, bf16, exact]) is exact
    small = tried("openvino", batch=4, milliseconds=20, threads=2)
    assert choose([UNTUNED, exact, small]) is small
    one = tried("openvino", batch=4, milliseconds=20, threads=1)
    assert choose([UNTUNED, small, one]) is one


def test_a_bound_on_latency_rules_out_large_batches() -> None:
    small, large = tried(batch=2, milliseconds=10), tried(batch=32, milliseconds=100)
    assert choose([UNTUNED, small, large]) is large
    assert choose([UNTUNED, small, large], latency_ms=10) is small
    with pytest.raises(UsageError, match=r"^--latency 5: no configuration is so fast, the best takes 10.0 ms \("):
        choose([UNTUNED, small, large], latency_ms=5)
