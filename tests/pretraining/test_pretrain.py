from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from pretraining import network
from pretraining.pretrain import Run, Settings, learning_rate, main, pretrain

TINY = Settings(steps=3, batch=8, warm_up=2, decay=2, whole=1, cutmix=0.5)


@pytest.fixture(autouse=True)
def _two_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out six of the eight equal blocks: bfloat16, in which they are trained, is slow on CPUs without it."""
    monkeypatch.setattr(network, "create", lambda: timm.create_model(network.NAME, num_classes=0, depth=2))


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve random images of four classes."""
    folder = tmp_path_factory.mktemp("images")
    pixels = np.random.default_rng(0).integers(0, 256, (12, 72, 72, 3), dtype=np.uint8)
    np.save(folder / "images.npy", pixels)
    facts = {"generator_version": "1", "seed": 0, "per_class": 3, "classes": 4}
    (folder / "images.json").write_text(json.dumps(facts))
    return folder


def test_the_rate_rises_stays_and_falls_to_zero() -> None:
    settings = Settings(steps=100, rate=2.0, warm_up=10, decay=20)
    rates = [learning_rate(step, settings) for step in range(101)]
    assert rates[:2] == pytest.approx([0.2, 0.4])
    assert set(rates[9:81]) == {2.0}
    assert rates[90] == pytest.approx(1.0)
    assert rates[100] == 0


def test_the_start_does_not_depend_on_the_number_of_steps() -> None:
    short, long = Settings(steps=50, decay=10), Settings(steps=500, decay=10)
    assert [learning_rate(s, short) for s in range(41)] == [learning_rate(s, long) for s in range(41)]


def test_a_run_continued_from_its_checkpoint_gives_the_same_weights(images: Path, tmp_path: Path) -> None:
    pretrain(images, tmp_path / "whole", TINY)
    started = Run(images, tmp_path / "parts", TINY)
    (tmp_path / "parts").mkdir()
    started.train_step()
    started.save()
    pretrain(images, tmp_path / "parts", TINY)
    whole, parts = (load_file(tmp_path / folder / network.FILE) for folder in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_the_weights_file_holds_the_backbone_as_float16_and_says_where_it_comes_from(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--steps", "1", "--batch", "4", "--warm-up", "1", "--decay", "1", "--whole", "0"]
    main(["--images", str(images), "--out", str(tmp_path), *options])
    tensors = load_file(tmp_path / network.FILE)
    assert tensors.keys() == network.create().state_dict().keys()
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float16}
    with safe_open(tmp_path / network.FILE, "pt") as file:
        metadata = file.metadata()
    assert metadata["license"] == "Apache-2.0"
    assert (metadata["seed"], metadata["steps"], metadata["generator_version"]) == ("0", "1", "1")
    assert json.loads(metadata["settings"])["batch"] == 4


def test_training_lowers_the_loss_on_few_images(images: Path, tmp_path: Path) -> None:
    run = Run(images, tmp_path, Settings(steps=40, batch=8, warm_up=5, decay=5, whole=0, cutmix=0.0))
    losses = [sum(run.train_step()) for _ in range(20)]
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
