"""model.reference: torch's answers are those of the served network, float32 on the CPU, or an error."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.errors import BackboneError
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.model.adapted import AdaptedViT
from adaptertune_deploy.model.reference import torch_logits
from tests.builders import make_adapter, make_task
from tests.model.builders import make_backbone

BACKBONE = make_backbone()
PETS = make_adapter(make_task("pets", 5, blocks=(0, 2), temperature=2.0), BACKBONE.spec)


def images() -> Array:
    size = BACKBONE.spec.image_size
    return np.random.default_rng(0).normal(size=(11, 3, *size)).astype(np.float32)


def test_torchs_answers_do_not_depend_on_how_they_are_batched() -> None:
    network = AdaptedViT(BACKBONE, PETS.task).eval()
    network.load(PETS)
    with torch.no_grad():
        alone = torch.cat([network(torch.from_numpy(images()[place : place + 1])) for place in range(11)])
    found = torch_logits(BACKBONE, PETS, images())
    assert (found.dtype, found.shape) == (np.float32, (11, 5))
    assert_allclose(found, alone.numpy(), atol=1e-5)


def test_the_temperature_divides_them() -> None:
    plain = Adapter(make_task("pets", 5, blocks=(0, 2)), PETS.tensors)
    assert_allclose(torch_logits(BACKBONE, plain, images()), 2 * torch_logits(BACKBONE, PETS, images()), rtol=1e-5)


def test_torch_that_gives_nan_is_blamed_itself() -> None:
    broken = Adapter(PETS.task, {name: np.full_like(value, np.nan) for name, value in PETS.tensors.items()})
    with pytest.raises(BackboneError, match=r"task 'pets': torch itself gives NaN or infinite logits on .*; train"):
        torch_logits(BACKBONE, broken, images()[:2])
