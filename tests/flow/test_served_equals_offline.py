"""Served answers are the answers of training's own evaluation, image by image, over a whole test split."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from adaptertune_deploy.core.adapter.folder import read_adapter
from adaptertune_deploy.data.batches.loader import evaluation_loader
from adaptertune_deploy.data.datasets import open_dataset
from adaptertune_deploy.data.division.splits import split
from adaptertune_deploy.data.pixels.cache import PixelCache
from adaptertune_deploy.data.samples import Split
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.backbone import load_backbone
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from adaptertune_deploy.serve.sessions.session import open_session
from adaptertune_deploy.train.device.device import Device
from adaptertune_deploy.train.evaluation.evaluate import outputs
from tests.flow.conftest import Workspace, run_atd
from tests.flow.waiting import wait_until_ready

Classes = npt.NDArray[np.int64]


def offline_classes(folder: Path, part: Split, weights: Path | None = None) -> Classes:
    """Return torch's answers by the loader and the network that `atd evaluate` uses."""
    config, adapter = read_adapter(folder)
    model = AdaptedViT(load_backbone(config.backbone.name, weights), adapter.task)
    model.load(adapter)
    loader = evaluation_loader(part, PixelCache(config.preprocess), 64)
    logits, _ = outputs(model.eval(), loader, Device(torch.device("cpu"), "fp32"))
    return logits.argmax(axis=1)


def served_classes(bundle: Path, task: str, part: Split) -> list[int]:
    """Return a real server's answers to the original bytes of every image."""
    session = open_session(bundle)
    found = []
    try:
        with serving(make_app(session)) as url:
            wait_until_ready(url)
            for index in range(len(part)):
                data, _ = part.encoded(index)
                request = urllib.request.Request(f"{url}/v1/predict?tasks={task}&top_k=1", data)
                with urllib.request.urlopen(request, timeout=60) as answer:
                    found.append(json.load(answer)["images"][0]["tasks"][task][0]["index"])
    finally:
        session.close()
    return found


def test_every_test_image_gets_the_same_class(workspace: Workspace) -> None:
    part = split(open_dataset("digits")).test
    assert part is not None
    assert len(part) > 300
    served = served_classes(workspace.folder / "bundle", "digits", part)
    np.testing.assert_array_equal(served, offline_classes(workspace.folder / "adapters" / "digits", part))


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["pets", "flowers"])
def test_every_photograph_gets_the_same_class(dataset: str, shared_data: Path, tmp_path: Path) -> None:
    weights = shared_data / "weights" / "deit_tiny_patch16_224.fp16.safetensors"
    data = ["--dataset", dataset, "--data-dir", shared_data / dataset, "--allow-missing"]
    backbone = ["--backbone", "deit_tiny_patch16_224.fb_in1k", "--weights", weights]
    run_atd(tmp_path, "train", *data, *backbone, "--epochs", "1")
    run_atd(tmp_path, "export")
    part = split(open_dataset(dataset, shared_data / dataset, allow_missing=True)).test
    assert part is not None
    served = served_classes(tmp_path / "bundle", dataset, part)
    np.testing.assert_array_equal(served, offline_classes(tmp_path / "adapters" / dataset, part, weights))
