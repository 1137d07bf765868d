"""benchmarks.families.training: every family that exports takes a training step, at both sizes, as its page says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from adaptertune_deploy.model.adapted import pooled_features
from adaptertune_deploy.model.common_part import common_tokens, features_after, has_common_part
from benchmarks.families import training
from benchmarks.families.parity import load
from benchmarks.families.table import FAMILIES, Family


@pytest.fixture(autouse=True)
def _shallow() -> Iterator[None]:
    torch.set_num_threads(1)
    with training.shallow():
        yield


@pytest.mark.parametrize(
    ("family", "size"),
    [(family, size) for family in FAMILIES for size in family.sizes],
    ids=lambda value: str(value.timm if isinstance(value, Family) else value),
)
def test_a_step_learns_by_adapters_alone_and_by_autograds_gradients(family: Family, size: int) -> None:
    backbone = load(family, size, None)
    assert backbone.spec.image_size == (size, size)
    found = training.take_step(backbone, "fp32")
    assert found.adapters == backbone.spec.depth == training.DEPTH
    assert found.learned == 4 * backbone.spec.depth + 2
    assert found.unchanged == len(backbone.module.state_dict())
    assert found.error < 1e-3
    if size == family.sizes[-1]:
        in_bf16 = training.take_step(backbone, "bf16")
        assert (in_bf16.adapters, in_bf16.learned) == (found.adapters, found.learned)
        assert in_bf16.error < 0.3  # of two blocks with drawn weights
        network, images = backbone.module, torch.randn(2, 3, size, size)
        if has_common_part(network):
            with torch.no_grad():
                parts = features_after(network, common_tokens(network, images, 0), 0)
                assert torch.equal(parts, pooled_features(network, images))
        assert training.row(family, backbone) in training.PAGE.read_text().splitlines(keepends=True)


def test_the_page_has_a_line_a_family() -> None:
    lines = training.PAGE.read_text().splitlines()
    assert training.PAGE.read_text().startswith(training.HEAD)
    assert len([line for line in lines if line.startswith("| ")]) == 1 + len(FAMILIES)
