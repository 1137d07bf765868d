from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.bench import known
from adaptertune_deploy.bench.known import find_known, images_for
from adaptertune_deploy.core.adapter.folder import read_config, write_config
from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.images.preprocess import preprocess
from tests.bench.golden import GOLDEN, golden_logits
from tests.builders import write_adapter


def test_the_answers_are_those_of_what_the_bundle_holds(folder: Path) -> None:
    manifest = read_manifest(folder / "bundle")
    found, reasons = find_known(folder / "adapters", manifest, manifest.tasks)
    assert reasons == []
    for entry in found:
        np.testing.assert_array_equal(entry.answers.logits, golden_logits()[entry.record.task.name])
    assert [entry.record.task.name for entry in found] == ["birds", "cars"]  # cars ships its head


def test_many_tasks_share_the_images(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "IMAGES", 4)
    manifest = read_manifest(folder / "bundle")
    found, _ = find_known(folder / "adapters", manifest, manifest.tasks)
    assert [len(entry.answers.images) for entry in found] == [2, 2]


def test_what_is_not_known_is_said(folder: Path) -> None:
    manifest, adapters = read_manifest(folder / "bundle"), folder / "adapters"
    shutil.rmtree(adapters / "birds")
    write_config(adapters / "cars", replace(read_config(adapters / "cars"), samples=(), reference_sha256=""))
    found, reasons = find_known(adapters, manifest, manifest.tasks)
    assert found == []
    assert reasons == [
        f"birds: no adapter folder {adapters / 'birds'}",
        f"cars: {adapters / 'cars'} has no answers of torch's, or its images are not on this machine",
    ]
    write_adapter(adapters / "birds", manifest.tasks[0].task, manifest.backbone, manifest.preprocess, seed=7)
    _, reasons = find_known(adapters, manifest, manifest.tasks[:1])
    assert reasons == [f"birds: {adapters / 'birds'} holds another training than the bundle"]


def test_images_to_time_with_are_samples_or_noise(folder: Path) -> None:
    manifest = read_manifest(folder / "bundle")
    found, _ = find_known(folder / "adapters", manifest, manifest.tasks[:1])
    first = preprocess((GOLDEN / "images" / "0.png").read_bytes(), manifest.preprocess)
    images = images_for(found, 6, (32, 32))
    assert (images.shape, images.dtype) == ((6, 3, 32, 32), np.float32)
    np.testing.assert_array_equal(images[0], first)
    np.testing.assert_array_equal(images[4], first)
    noise = images_for([], 3, (16, 8))
    assert noise.shape == (3, 3, 16, 8)
    np.testing.assert_array_equal(noise, images_for([], 3, (16, 8)))
