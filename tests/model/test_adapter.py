"""model.adapter against the paper's equation and its parameter arithmetic."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import erf

from adaptertune_deploy.model.adapter import Adapter, count_parameters, device_of


def make_adapter(width: int = 6, rank: int = 4, alpha: float = 0.5) -> Adapter:
    generator = torch.Generator().manual_seed(0)
    adapter = Adapter(width, rank, alpha)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return adapter


@pytest.mark.parametrize("alpha", [1.0, 0.5, -2.0])
def test_the_branch_is_the_papers_equation(alpha: float) -> None:
    adapter = make_adapter(alpha=alpha)
    x = torch.randn(2, 3, 6, generator=torch.Generator().manual_seed(1))
    down, down_bias, up, up_bias = (
        value.detach().double().numpy()
        for value in (adapter.down.weight, adapter.down.bias, adapter.up.weight, adapter.up.bias)
    )
    hidden = x.double().numpy() @ down.T + down_bias
    exact = 0.5 * hidden * (1 + erf(hidden / math.sqrt(2)))
    expected = alpha * (exact @ up.T + up_bias)
    np.testing.assert_allclose(adapter(x).detach().numpy(), expected, rtol=1e-5, atol=1e-5)


def test_a_new_adapter_adds_exactly_nothing() -> None:
    torch.manual_seed(0)
    adapter = Adapter(8, 3, 1.0)
    assert torch.equal(adapter(torch.randn(2, 5, 8)), torch.zeros(2, 5, 8))
    for zero in (adapter.down.bias, adapter.up.weight, adapter.up.bias):
        assert not zero.any()


def test_down_starts_xavier_uniform() -> None:
    torch.manual_seed(0)
    width, rank = 192, 64
    weight = Adapter(width, rank, 1.0).down.weight.detach()
    bound = math.sqrt(6 / (width + rank))
    assert weight.abs().max() <= bound
    assert weight.abs().max() > 0.99 * bound
    assert weight.std() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert abs(weight.mean()) < 0.02 * bound


def test_at_the_start_up_learns_and_down_waits() -> None:
    torch.manual_seed(0)
    adapter = Adapter(8, 3, 1.0)
    adapter(torch.randn(2, 5, 8)).sum().backward()
    assert adapter.up.weight.grad.any()
    assert adapter.up.bias.grad.any()
    assert not adapter.down.weight.grad.any()
    assert not adapter.down.bias.grad.any()


@pytest.mark.parametrize(
    ("width", "rank", "expected"),
    [(192, 8, 39_264), (192, 16, 76_224), (384, 8, 78_432), (384, 16, 152_256), (768, 8, 156_768), (768, 16, 304_320)],
)
def test_twelve_adapters_have_the_published_number_of_parameters(width: int, rank: int, expected: int) -> None:
    blocks = torch.nn.ModuleList(Adapter(width, rank, 1.0) for _ in range(12))
    assert count_parameters(blocks) == expected


def test_the_device_is_that_of_the_parameters() -> None:
    assert device_of(Adapter(4, 2, 1.0)) == torch.device("cpu")
    assert device_of(Adapter(4, 2, 1.0).to("meta")) == torch.device("meta")
