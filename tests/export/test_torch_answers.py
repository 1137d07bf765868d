"""export.torch_answers: torch's logits and the traced graph, and nothing that keeps the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from torch.multiprocessing.reductions import StorageWeakRef

from adaptertune_deploy.core.answers.known_image import known_image
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.images.preprocess import normalised
from adaptertune_deploy.core.progress import silent
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.export import torch_answers
from adaptertune_deploy.export.images import read_images
from adaptertune_deploy.export.plan import Plan, plan_export
from adaptertune_deploy.export.torch_answers import ask_torch
from adaptertune_deploy.model.backbone import Backbone
from tests.builders import encode, make_image, make_task, write_adapter
from tests.export.conftest import build_backbone, reference


def small() -> Backbone:
    return build_backbone(img_size=32, patch_size=8, embed_dim=12, num_heads=3, depth=1)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    """One task that adapts the only block, and two images."""
    backbone = small()
    write_adapter(tmp_path / "pets", make_task("pets", blocks=(0,)), backbone.spec, backbone.preprocess)
    for seed in range(2):
        files.write_bytes(tmp_path / "images" / f"{seed}.png", encode(make_image(seed=seed)))
    return plan_export([tmp_path / "pets"], tmp_path / "bundle", images=tmp_path / "images")


def test_the_answers_are_there_and_the_weights_are_gone(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = [small()]
    held = [StorageWeakRef(tensor.untyped_storage()) for tensor in loaded[0].module.parameters()]
    monkeypatch.setattr(torch_answers, "load_backbone", lambda *_, **__: loaded.pop())
    images = read_images(plan.images, plan.sources[0].config.preprocess)
    told: list[str] = []
    found = ask_torch(plan, images, None, True, lambda what, *_: told.append(what))
    assert all(storage.expired() for storage in held)
    backbone = small()
    assert found.spec == backbone.spec
    np.testing.assert_allclose(found.expected[0], reference(backbone, plan.sources[0].adapter, images), atol=1e-6)
    spec = plan.sources[0].config.preprocess
    known = normalised(known_image(spec.size), spec)[None]
    np.testing.assert_allclose(found.known, reference(backbone, plan.sources[0].adapter, known), atol=1e-6)
    assert found.traced.count(b"blocks.0.adapter.down.weight") > 0
    assert told == ["torch's answers", "torch's answers", "shared graph"]


def test_another_backbone_than_the_adapters_were_trained_on_is_refused(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = build_backbone(img_size=32, patch_size=8, embed_dim=12, num_heads=3, depth=2)
    monkeypatch.setattr(torch_answers, "load_backbone", lambda *_, **__: other)
    images = read_images(plan.images, plan.sources[0].config.preprocess)
    with pytest.raises(FormatError, match="task 'pets' was trained on"):
        ask_torch(plan, images, None, True, silent)
