from __future__ import annotations

import pytest

from adaptertune_deploy.serve.protocol.models import ENVELOPE, all_models, image_model, model_of, task_of, tensor_model
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from tests.builders import make_preprocess_spec, make_task

PETS = ServedTask(0, make_task("pets"), 3)
ROW = 3 * 32 * 24 * 4
SPEC = make_preprocess_spec(size=(32, 24))


def test_a_task_has_a_model_for_encoded_images_and_one_for_pixels() -> None:
    images, pixels = all_models([PETS], SPEC)
    assert (images.name, images.input, images.datatype, images.dims) == ("pets", "image", "BYTES", (1,))
    assert (pixels.name, pixels.input, pixels.datatype, pixels.dims) == ("pets__tensor", "images", "FP32", (3, 32, 24))
    for model in (images, pixels):
        assert model_of(model.name, PETS, SPEC) == model
        assert task_of(model.name) == "pets"
        assert (model.task, model.version, model.output) == (PETS, "3", "logits")
        assert model.labels == PETS.spec.labels


@pytest.mark.parametrize(
    ("body", "largest"), [(2 * ROW + ENVELOPE, 2), (2 * ROW + ENVELOPE - 1, 1), (1, 1), (10**9, 64)]
)
def test_a_batch_of_pixels_fits_into_a_body(body: int, largest: int) -> None:
    settings = Settings(body_limit=body)
    assert tensor_model(PETS, SPEC).largest_batch(settings) == largest
    assert image_model(PETS).largest_batch(settings) == settings.largest_request
