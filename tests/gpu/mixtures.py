"""Two engines, one of which is trusted, asked about the same tasks of several ranks."""

from __future__ import annotations

import numpy as np

from adaptertune_deploy.core.bundle.manifest import Manifest
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.bank.bank import SlotBank
from adaptertune_deploy.engines.engine import Engine
from tests.builders import make_adapter, make_task

RANKS = (2, 3, 0, 3, 8, 2)


def check_mixtures(opened: Engine, usual: Engine, manifest: Manifest, images: Array, tolerance: float) -> None:
    """Assert that an engine gives what the usual one does, whatever ranks are in a batch; some batches come again."""
    spec, draw = manifest.backbone, np.random.default_rng(1)
    tasks = [
        make_adapter(make_task(f"t{seed}", rank=rank, blocks=manifest.slots), spec, seed)
        for seed, rank in enumerate(RANKS)
    ]
    banks = [SlotBank(engine, manifest.slots, spec.width, spec.features) for engine in (opened, usual)]
    handles = [[held.write(task) for task in tasks] for held in banks]
    for rows in (2, 3, 8, 3, 8, 2, 8):
        image, asked = draw.integers(0, len(images), rows), draw.integers(0, len(tasks), rows)
        for _ in range(2):
            found, wanted = (
                held.features(images, image, [places[task] for task in asked])
                for held, places in zip(banks, handles, strict=True)
            )
            np.testing.assert_allclose(found, wanted, atol=tolerance, rtol=tolerance)
