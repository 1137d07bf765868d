"""model.residual: sums and gradients against autograd's, in float64 where rounding is to be told apart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from adaptertune_deploy.model import adapted
from adaptertune_deploy.model.adapter import Adapter
from adaptertune_deploy.model.dropping import Dropping
from adaptertune_deploy.model.nested import at_widths
from adaptertune_deploy.model.residual import residual, residuals_at_once
from tests.model.builders import disturb, make_images, make_model

CASES = {"plain": (8, 1.0), "another alpha": (8, 0.3), "one unit": (1, 1.0), "as wide as a token": (16, 2.0)}


def make(rank: int, alpha: float) -> tuple[Adapter, Tensor, Tensor]:
    """Return an adapter that changes something, tokens (3, 5, 16), and a gradient of their sum."""
    torch.manual_seed(3)
    adapter = Adapter(16, rank, alpha)
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.3)
    return adapter, torch.randn(3, 5, 16), torch.randn(3, 5, 16)


def gradients(sum_: Tensor, x: Tensor, adapter: Adapter, gradient: Tensor) -> Iterator[Tensor]:
    return iter((sum_.detach(), *torch.autograd.grad(sum_, [x, *adapter.parameters()], gradient)))


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_sum_and_gradients_are_those_of_autograd(case: tuple[int, float]) -> None:
    adapter, x, gradient = make(*case)
    x.requires_grad_()
    found = list(gradients(residual(x, adapter), x, adapter, gradient))
    exact, wide = adapter.double(), x.detach().double().requires_grad_()
    expected = gradients(wide + exact(wide), wide, exact, gradient.double())
    assert len(found) == 6
    for value, other in zip(found, expected, strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, other.float(), rtol=1e-5, atol=1e-5)


def test_under_autocast_it_is_still_float32() -> None:
    adapter, x, gradient = make(8, 1.0)
    x.requires_grad_()
    expected = gradients(x + adapter(x), x, adapter, gradient)
    with torch.autocast("cpu", torch.bfloat16):
        sum_ = residual(x.to(torch.bfloat16), adapter)
    assert sum_.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        sum_ = residual(x, adapter)
    for value, other in zip(gradients(sum_, x, adapter, gradient), expected, strict=True):
        torch.testing.assert_close(value, other, rtol=1e-5, atol=1e-5)


def test_a_new_adapter_changes_no_bit() -> None:
    x = torch.randn(2, 5, 16)
    assert torch.equal(residual(x, Adapter(16, 4, 1.0)), x)


def test_tokens_that_need_no_gradient_get_none() -> None:
    adapter, x, gradient = make(8, 1.0)
    residual(x, adapter).backward(gradient)
    assert x.grad is None
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in adapter.parameters())


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[Adapter]:
    """Return the adapters whose sums this module computed."""
    found: list[Adapter] = []
    monkeypatch.setattr(adapted, "residual", lambda x, adapter: (found.append(adapter), residual(x, adapter))[1])
    return found


def test_it_is_taken_while_the_context_is_open_and_nothing_is_left_out(taken: list[Adapter]) -> None:
    model, images = disturb(make_model()).train(), make_images()
    plain = model(images)
    assert taken == []
    with residuals_at_once(model.adapters):
        torch.testing.assert_close(model(images), plain, rtol=1e-5, atol=1e-5)
        assert taken == list(model.adapters.values())
        with at_widths(model, torch.tensor([1, 2])):
            model(images)
        model.dropping = Dropping(0.5, 0.0, 0)
        model.dropping.begin(0, 2)
        model(images)
    model.dropping = None
    model(images)
    assert len(taken) == len(model.adapters)


def test_a_failure_leaves_the_adapters_as_they_were() -> None:
    model = make_model()
    with pytest.raises(RuntimeError, match="stop"), residuals_at_once(model.adapters):
        raise RuntimeError("stop")
    assert not any(adapter.at_once for adapter in model.adapters.values())
