"""benchmarks.inference.forms on the smallest network: the graphs that are compared answer the same questions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.engines.options import ON_CPU
from benchmarks import backbones
from benchmarks.inference import forms
from benchmarks.inference.forms import Shared


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    folder = tmp_path_factory.mktemp("forms")
    backbone = backbones.random_backbone("vit_pico_patch8_64")
    return forms.write_shared(backbone, range(4, 8), 3, 2, folder / "shared.onnx")


def run(opener: Any) -> Any:
    engine, ask = opener()
    answer = ask()
    engine.close()
    return answer


def test_merged_and_shared_give_one_answer(shared: Shared, tmp_path: Path) -> None:
    forms.write_merged(shared, tmp_path / "merged.onnx")
    images = backbones.make_images(shared.backbone, 3)
    merged = run(forms.open_alone(tmp_path / "merged.onnx", images, ON_CPU))[bank.LOGITS]
    rows = run(forms.open_shared(shared, images, [(0, 0), (1, 2), (2, 0)], ON_CPU))
    assert [row.shape for row in rows] == [(forms.CLASSES,)] * 3
    np.testing.assert_allclose(rows[0], merged[0], atol=1e-5)
    np.testing.assert_allclose(rows[2], merged[2], atol=1e-5)
    assert np.abs(rows[1] - merged[1]).max() > 1e-3  # another task


def test_tasks_adapt_the_blocks_that_were_asked_for(shared: Shared) -> None:
    assert [adapter.task.adapter.blocks for adapter in shared.adapters] == [(4, 5, 6, 7)] * 3
    first, second, _ = shared.adapters
    assert not np.array_equal(first.tensors["head.weight"], second.tensors["head.weight"])


def test_the_ordinary_export_takes_any_batch(shared: Shared, tmp_path: Path) -> None:
    forms.write_plain(shared.backbone, tmp_path / "plain.onnx")
    for batch in (1, 3):
        images = backbones.make_images(shared.backbone, batch)
        answer = run(forms.open_alone(tmp_path / "plain.onnx", images, ON_CPU))
        assert answer[bank.LOGITS].shape == (batch, forms.CLASSES)
