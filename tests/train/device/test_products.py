"""train.device.products: what was measured decides, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from adaptertune_deploy.train.device import products


@pytest.fixture(autouse=True)
def _nothing_is_known() -> Iterator[None]:
    products.bf16_is_faster.cache_clear()
    yield
    products.bf16_is_faster.cache_clear()


@pytest.mark.parametrize(("float32", "bfloat16", "faster"), [(1.25, 1.0, True), (1.24, 1.0, False), (0.6, 1.0, False)])
def test_bfloat16_has_to_be_a_quarter_faster(
    monkeypatch: pytest.MonkeyPatch, float32: float, bfloat16: float, faster: bool
) -> None:
    asked: list[tuple[torch.dtype, ...]] = []

    def seconds(*dtypes: torch.dtype) -> dict[torch.dtype, float]:
        asked.append(dtypes)
        return {torch.float32: float32, torch.bfloat16: bfloat16}

    monkeypatch.setattr(products, "shortest_seconds", seconds)
    assert [products.bf16_is_faster() for _ in range(3)] == [faster] * 3
    assert asked == [(torch.float32, torch.bfloat16)]  # once a process


def test_the_shortest_of_several_rounds_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    now, lengths = [0.0], iter([9.0, 8.0, 2.0, 5.0, *[7.0, 6.0] * (products.ROUNDS - 2)])
    monkeypatch.setattr(products.time, "perf_counter", lambda: now[0])

    def product(rows: torch.Tensor, weight: torch.Tensor) -> None:
        assert rows.dtype == weight.dtype
        now[0] += next(lengths)

    monkeypatch.setattr(products.functional, "linear", product)
    found = products.shortest_seconds(torch.float32, torch.bfloat16)
    assert found == {torch.float32: 2.0, torch.bfloat16: 5.0}
    assert next(lengths, None) is None


def test_random_numbers_go_on_as_if_nothing_was_measured() -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    assert products.shortest_seconds(torch.float32)[torch.float32] > 0
    assert torch.equal(torch.rand(4), expected)
