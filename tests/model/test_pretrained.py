"""model.pretrained: a network with a file's tensors, and what comes back beside it; whole loads are test_backbone's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from torch import nn

from adaptertune_deploy.core.errors import BackboneError
from adaptertune_deploy.model.pretrained import check_file, downloaded, first_line, from_file

NAME = "deit_tiny_patch16_224.fb_in1k"
CREATE = timm.create_model


@pytest.fixture(autouse=True)
def _small_models(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {"depth": 1, "embed_dim": 12, "num_heads": 2}
    monkeypatch.setattr(timm, "create_model", lambda *args, **given: CREATE(*args, **{**small, **given}))


def write_weights(path: Path, **options: Any) -> dict[str, torch.Tensor]:
    module: nn.Module = timm.create_model(NAME, num_classes=7, **options)
    state = {name: value + 1 for name, value in module.state_dict().items()}
    safetensors.torch.save_file(state, path)
    return state


def test_a_file_for_the_own_size_is_loaded_and_forgotten(tmp_path: Path) -> None:
    state = write_weights(tmp_path / "w.safetensors")
    module, stored, notes = from_file(NAME, tmp_path / "w.safetensors")
    assert (stored, notes) == (None, ())
    assert all(torch.equal(value, state[name]) for name, value in module.state_dict().items())


def test_the_tensors_of_a_file_for_another_size_come_back_as_they_are(tmp_path: Path) -> None:
    state = write_weights(tmp_path / "w.safetensors", img_size=96)
    module, stored, notes = from_file(NAME, tmp_path / "w.safetensors")
    assert module.state_dict()["pos_embed"].shape == (1, 197, 12)
    assert stored is not None
    assert torch.equal(stored["pos_embed"], state["pos_embed"])
    assert notes == (
        f"{tmp_path}/w.safetensors: pos_embed resampled; it holds weights for another image or patch size",
    )


def test_a_download_loses_its_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    online = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained: online(name, num_classes=5))
    assert downloaded(NAME)(torch.zeros(2, 3, 224, 224)).shape == (2, 12)


def test_what_a_library_says_is_cut_to_one_line(tmp_path: Path) -> None:
    assert first_line(OSError("no\nnet")) == "no"
    assert first_line(ValueError()) == "ValueError"
    assert len(first_line(OSError("x" * 1000))) == 120
    with pytest.raises(BackboneError, match="none: no such weights file; give one with --weights FILE"):
        check_file(tmp_path / "none")
