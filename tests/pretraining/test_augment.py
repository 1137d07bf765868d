from __future__ import annotations

import pytest
import torch

from pretraining import augment


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def _images(count: int = 50) -> torch.Tensor:
    return torch.randint(0, 256, (count, 72, 72, 3), dtype=torch.uint8, generator=_generator())


def test_a_seed_fixes_the_batch() -> None:
    first, second = (augment.augment(_images(), _generator()) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (50, 3, 64, 64)
    assert first.dtype == torch.float32
    assert 0 <= first.min() < first.max() <= 1


def test_crops_keep_a_plain_colour() -> None:
    plain = torch.full((20, 3, 72, 72), 0.25)
    assert augment._crop(plain, _generator()).sub(0.25).abs().max() < 1e-6


def test_softening_keeps_the_mean_and_lowers_the_detail_of_the_first_six_tenths() -> None:
    sharp = torch.rand(50, 3, 64, 64, generator=_generator())
    soft = augment._soften(sharp, _generator())
    assert soft.mean() == pytest.approx(sharp.mean().item(), abs=0.01)
    assert (soft[:30].std(dim=(1, 2, 3)) < 0.7 * sharp[:30].std(dim=(1, 2, 3))).all()
    assert torch.equal(soft[30:], sharp[30:])


def test_some_images_become_grey() -> None:
    recoloured = augment._recolour(torch.rand(200, 3, 8, 8, generator=_generator()), _generator())
    grey = (recoloured.std(dim=1).amax(dim=(1, 2)) < 1e-6).float().mean()
    assert 0.1 < grey < 0.3


def test_cutmix_pastes_one_box_and_counts_its_area() -> None:
    images = torch.stack([torch.full((3, 64, 64), float(index)) for index in range(6)])
    labels = torch.arange(6)
    mixed, other, share = augment.cutmix(images, labels, _generator())
    assert other.tolist() == [5, 4, 3, 2, 1, 0]
    for index in range(6):
        kept = (mixed[index] == index).float().mean().item()
        assert kept == pytest.approx(share)
        assert (mixed[index] == 5 - index).float().mean().item() == pytest.approx(1 - share)
