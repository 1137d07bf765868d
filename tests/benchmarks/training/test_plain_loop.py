"""benchmarks.training.plain_loop: it trains adapters and head alone, and begins as the backbone with a head."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional

from adaptertune_deploy.train.request.recipe import Recipe
from benchmarks.training.plain_loop import PlainLoop
from tests.train.runs import LABELS, make_pictures

NAME = "test_vit"  # timm's own for tests: 64 channels, six blocks, images of 160 pixels


@pytest.fixture
def loop(tmp_path: Path) -> PlainLoop:
    torch.manual_seed(0)
    network = timm.create_model(NAME)
    weights = tmp_path / "weights.safetensors"
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, weights)
    root = make_pictures(tmp_path / "images", 2)
    files = [(path, LABELS.index(path.parent.name)) for path in sorted(root.rglob("*.png"))]
    return PlainLoop(NAME, weights, files, (4, 5), Recipe(rank=2, batch_size=3, lr=1e-2))


def test_it_begins_as_the_backbone_and_learns_by_adapters_and_head_alone(loop: PlainLoop) -> None:
    images, targets = loop._held
    assert images.shape == (3, 3, 160, 160)
    before = {name: value.clone() for name, value in loop._model.state_dict().items()}
    logits = loop._model.head(loop._model.forward_head(loop._model.forward_features(images), pre_logits=True))
    start = loop.forward().item()
    assert start == pytest.approx(functional.cross_entropy(logits, targets).item(), rel=1e-5)
    loop.frozen()
    assert loop.forward().item() == start  # the adapters are on again
    losses = [loop.update() for _ in range(15)]
    assert losses[0] == pytest.approx(start, rel=1e-5)
    assert losses[-1] < losses[0] / 2
    changed = {name for name, value in loop._model.state_dict().items() if not torch.equal(value, before[name])}
    parts = {
        f"blocks.{block}.{part}.{kind}" for block in (4, 5) for part in ("down", "up") for kind in ("weight", "bias")
    }
    assert changed == {*parts, "head.weight", "head.bias"}


def test_every_step_takes_the_next_images(loop: PlainLoop) -> None:
    first = loop._held[0]
    assert loop.step() > 0
    assert not torch.equal(loop._held[0], first)
