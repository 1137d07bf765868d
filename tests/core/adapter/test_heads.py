"""core.adapter.heads: each row gets its own task's head, whatever the sizes of the others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.adapter.heads import apply, head_of
from adaptertune_deploy.core.errors import FormatError
from tests.builders import make_adapter, make_backbone_spec, make_task

BACKBONE = make_backbone_spec(features=9)


def make(classes: int, temperature: float = 1.0, seed: int = 0, rank: int = 2) -> Adapter:
    return make_adapter(make_task(classes=classes, rank=rank, temperature=temperature), BACKBONE, seed)


@given(
    tasks=st.lists(st.tuples(st.integers(2, 40), st.sampled_from([0.5, 1.0, 3.0])), min_size=1, max_size=6),
    seed=st.integers(0, 99),
)
def test_rows_get_the_logits_of_their_own_task(tasks: list[tuple[int, float]], seed: int) -> None:
    adapters = [make(classes, temperature, place) for place, (classes, temperature) in enumerate(tasks)]
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(12, 9)).astype(np.float32)
    task = generator.integers(0, len(tasks), 12)
    found = apply([head_of(adapter) for adapter in adapters], features, task)
    for row, (logits, place) in enumerate(zip(found, task, strict=True)):
        tensors, temperature = adapters[place].tensors, adapters[place].task.temperature
        wanted = tensors["head.weight"].astype(np.float64) @ features[row] + tensors["head.bias"]
        assert logits.dtype == np.float32
        np.testing.assert_allclose(logits, wanted / temperature, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rank", [0, 2])
def test_a_head_is_the_adapters_own_in_the_order_of_a_product(rank: int) -> None:
    adapter = make(5, temperature=2.0, rank=rank)
    head = head_of(adapter)
    np.testing.assert_array_equal(head.weight, adapter.tensors["head.weight"].T / np.float32(2), strict=True)
    np.testing.assert_array_equal(head.bias, adapter.tensors["head.bias"] / np.float32(2), strict=True)
    assert head.weight.flags.c_contiguous


def test_a_temperature_that_overflows_a_head_is_refused_without_a_warning() -> None:
    adapter = make(3, temperature=1e-6)
    adapter.tensors["head.bias"][:] = np.float32(1e34)
    with pytest.raises(FormatError, match=r"task 'pets': 'head.bias' divided by temperature 1e-06 overflows float32"):
        head_of(adapter)
