"""Served answers are the answers of training's own evaluation, image by image, over a whole test split."""

from __future__ import annotations

import json
import urllib.request

import numpy as np
import torch

from adaptertune_deploy.core.adapter import read_adapter
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.backbone import load_backbone
from adaptertune_deploy.serve.app import make_app
from adaptertune_deploy.serve.server import serving
from adaptertune_deploy.serve.session import open_session
from adaptertune_deploy.train.datasets import open_dataset
from adaptertune_deploy.train.device import Device
from adaptertune_deploy.train.evaluate import outputs
from adaptertune_deploy.train.loader import evaluation_loader
from adaptertune_deploy.train.splits import split
from tests.flow.conftest import Workspace
from tests.flow.waiting import wait_until_ready


def test_every_test_image_gets_the_same_class(workspace: Workspace) -> None:
    config, adapter = read_adapter(workspace.folder / "adapters" / "digits")
    part = split(open_dataset("digits"), config.dataset.val_split).test
    assert part is not None
    model = AdaptedViT(load_backbone(config.backbone.name), config.task)
    model.load(adapter)
    loader = evaluation_loader(part, config.preprocess, 64)
    offline, _ = outputs(model.eval(), loader, Device(torch.device("cpu"), "fp32"))
    session = open_session(workspace.folder / "bundle", ["shapes", "digits"])
    served = []
    try:
        with serving(make_app(session)) as url:
            wait_until_ready(url)
            for index in range(len(part)):
                data, _ = part.encoded(index)
                request = urllib.request.Request(f"{url}/v1/predict?tasks=digits&top_k=1", data)
                with urllib.request.urlopen(request, timeout=60) as answer:
                    served.append(json.load(answer)["images"][0]["tasks"]["digits"][0]["index"])
    finally:
        session.close()
    assert len(served) == len(part) > 300
    np.testing.assert_array_equal(served, offline.argmax(axis=1))
