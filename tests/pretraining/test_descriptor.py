from __future__ import annotations

import pytest
import torch

from pretraining.descriptor import DIRECTIONS, LENGTH, describe


def _stripes(angle: float) -> torch.Tensor:
    """A wave whose brightness changes along `angle`, [1, 3, 64, 64]."""
    axis = torch.arange(64, dtype=torch.float32)
    along = torch.cos(torch.tensor(angle)) * axis[None, :] + torch.sin(torch.tensor(angle)) * axis[:, None]
    return (0.5 + 0.4 * torch.sin(along * 0.15)).expand(1, 3, 64, 64)


@pytest.mark.parametrize("direction", range(DIRECTIONS))
def test_stripes_vote_for_their_direction(direction: int) -> None:
    described = describe(_stripes(direction * torch.pi / DIRECTIONS))[0]
    for first, cells in ((0, 16), (DIRECTIONS * 16, 16), (DIRECTIONS * 32, 4)):
        histogram = described[first : first + DIRECTIONS * cells].view(DIRECTIONS, cells)
        assert (histogram.argmax(dim=0) == direction).all()
        assert histogram.norm().item() == pytest.approx(1, abs=1e-4)


def test_the_sign_of_an_edge_does_not_matter() -> None:
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    edges = slice(0, DIRECTIONS * 36)
    assert torch.allclose(describe(image)[:, edges], describe(1 - image)[:, edges], atol=1e-4)


def test_colours_are_the_cells_means_and_spreads() -> None:
    image = torch.zeros(1, 3, 64, 64)
    image[:, 0, :16, :16] = 0.6
    image[:, 1, 48:, 48::2] = 1.0
    described = describe(image)[0]
    assert len(described) == LENGTH
    mean, spread = described[-96:-48].view(3, 4, 4), described[-48:].view(3, 4, 4)
    assert mean[0, 0, 0].item() == pytest.approx(0.6)
    assert mean[1, 3, 3].item() == pytest.approx(0.5)
    assert spread[1, 3, 3].item() == pytest.approx(0.5)
    assert mean.sum().item() == pytest.approx(1.1)
