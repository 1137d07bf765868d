"""model.dropping: shares, means, and draws that follow from seed, step, block and row alone."""

from __future__ import annotations

import pytest
import torch

from adaptertune_deploy.model.dropping import Dropping
from tests.model.builders import disturb, make_images, make_model

ONES = torch.ones(64, 5, 40)


def begun(dropout: float = 0.25, drop_path: float = 0.4, seed: int = 1, step: int = 3) -> Dropping:
    dropping = Dropping(dropout, drop_path, seed)
    dropping.begin(step, 64)
    return dropping


def test_so_many_channels_are_zero_and_the_others_grow() -> None:
    found = begun().channels(ONES, 2)
    assert found.unique().tolist() == pytest.approx([0, 4 / 3])
    assert float((found == 0).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert float(found.mean()) == pytest.approx(1, abs=0.03)


def test_an_image_passes_by_with_all_of_its_tokens() -> None:
    found = begun().branch(ONES, 2)
    assert found.unique().tolist() == pytest.approx([0, 1 / 0.6])
    assert torch.equal(found, found[:, :1, :1].expand_as(found))
    assert 12 <= int((found[:, 0, 0] == 0).sum()) <= 40


def test_draws_follow_from_seed_step_block_and_kind() -> None:
    first = begun().channels(ONES, 2)
    assert torch.equal(first, begun().channels(ONES, 2))
    others = [begun(seed=2).channels(ONES, 2), begun(step=4).channels(ONES, 2), begun().channels(ONES, 3)]
    assert not any(torch.equal(first, other) for other in others)


def test_a_part_of_a_batch_drops_what_the_whole_batch_drops_there() -> None:
    whole = begun().channels(ONES, 2), begun().branch(ONES, 2)
    dropping = begun()
    dropping.rows = slice(40, 50)
    assert torch.equal(dropping.channels(ONES[40:50], 2), whole[0][40:50])
    assert torch.equal(dropping.branch(ONES[40:50], 2), whole[1][40:50])


def test_a_share_of_zero_returns_what_came_and_leaves_the_global_random_numbers_alone() -> None:
    before = torch.get_rng_state()
    assert begun(0.0, 0.0).channels(ONES, 2) is ONES
    assert begun(0.0, 0.0).branch(ONES, 2) is ONES
    begun().channels(ONES, 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_drops_in_training_mode_only_and_as_the_equation_says() -> None:
    model, images = disturb(make_model()), make_images(6)
    with torch.no_grad():
        expected = model.eval()(images)
        model.dropping = Dropping(0.5, 0.5, 0)
        model.dropping.begin(0, 6)
        assert torch.equal(model(images), expected)
        dropped = model.train()(images)
        assert not torch.allclose(dropped, expected)
        adapter = model.adapters["1"]
        x = torch.randn(6, 5, 16, generator=torch.Generator().manual_seed(1))
        hidden = model.dropping.channels(torch.nn.functional.gelu(adapter.down(x)), 1)  # type: ignore[operator]
        kept = model.dropping.branch(adapter.up(hidden), 1)  # type: ignore[operator]
        assert torch.equal(adapter(x, model.dropping, 1), kept)
        model.dropping = Dropping(0.0, 0.0, 0)
        assert torch.equal(model(images), expected)
