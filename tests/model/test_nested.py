"""model.nested: rows at widths of their own answer as networks that were cut to them."""

from __future__ import annotations

import pytest
import torch

from adaptertune_deploy.model.nested import at_widths, narrowed
from tests.builders import make_task
from tests.model.builders import disturb, make_backbone, make_images, make_model

TASK = make_task(rank=4, blocks=(0, 2), alpha=0.5)


@pytest.mark.parametrize("rank", [1, 3, 4])
def test_a_narrowed_network_is_the_whole_one_with_the_other_units_at_zero(rank: int) -> None:
    backbone = make_backbone()
    model = disturb(make_model(TASK, backbone)).eval()
    narrow = narrowed(backbone, model, rank)
    assert (narrow is model) is (rank == 4)
    assert narrow.task.adapter.rank == rank
    images = make_images(3)
    with torch.no_grad():
        found = narrow(images)
        for name, value in model.trainable().items():
            if name.endswith("up.weight"):
                value[:, rank:] = 0
        torch.testing.assert_close(found, model(images))


def test_rows_pass_widths_of_their_own() -> None:
    backbone = make_backbone()
    model, images = disturb(make_model(TASK, backbone)).eval(), make_images(3)
    with torch.no_grad():
        with at_widths(model, torch.tensor([4, 1, 2])):
            found = model(images)
        for row, rank in enumerate((4, 1, 2)):
            torch.testing.assert_close(found[row], narrowed(backbone, model, rank)(images)[row])
        whole = model(images)
        with at_widths(model, None):
            torch.testing.assert_close(model(images), whole, rtol=0, atol=0)
    assert (whole[1:] - found[1:]).abs().max() > 1e-3


def test_closed_units_learn_nothing_and_open_ones_do() -> None:
    model = disturb(make_model(TASK))
    with at_widths(model, torch.tensor([2, 2])):
        model(make_images(2)).square().sum().backward()
    for name, value in model.trainable().items():
        assert value.grad is not None
        if name.endswith("up.weight"):
            assert not value.grad[:, 2:].any()
            assert value.grad[:, :2].all()
    assert all(adapter.closed is None for adapter in model.adapters.children())
