"""engines.tensorrt.shapes: every run that an engine takes lies in exactly the profile that is chosen for it."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from adaptertune_deploy.engines.bank.packed import PackedBank
from adaptertune_deploy.engines.engine import TensorInfo
from adaptertune_deploy.engines.tensorrt.shapes import Capacity, profile_for, profiles

FLOAT, INT = np.dtype(np.float32), np.dtype(np.int64)
LAYOUT = PackedBank((0, 2), 16, FLOAT)
IMAGES = TensorInfo("images", FLOAT, ("N", 3, 8, 8))
SHARED = {
    "images": IMAGES,
    "image": TensorInfo("image", INT, ("B",)),
    "task": TensorInfo("task", INT, ("B",)),
    **LAYOUT.infos,
}


@pytest.mark.parametrize(
    ("rows", "steps"), [(1, (1,)), (2, (1, 2)), (8, (1, 2, 4, 8)), (12, (1, 2, 4, 8, 12)), (32, (1, 2, 4, 8, 16, 32))]
)
def test_steps_are_powers_of_two_and_the_largest(rows: int, steps: tuple[int, ...]) -> None:
    assert Capacity(rows, 8, 16, 8, 2).steps == steps


def inside(span: tuple[tuple[int, ...], ...], shape: tuple[int, ...]) -> bool:
    least, _, most = span
    return len(shape) == len(least) and all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True))


@pytest.mark.parametrize("rows", [1, 2, 12, 32])
def test_a_shared_plan_takes_every_step_of_rows_images_slots_and_ranks(rows: int) -> None:
    capacity = Capacity(rows, 8, 64, 16, 2)
    found = profiles(SHARED, capacity)
    assert len(found) == (1 if rows == 1 else 2)
    for asked, images in product(capacity.steps, capacity.steps):
        if images <= asked:
            profile = found[profile_for(asked)]
            assert inside(profile["images"], (images, 3, 8, 8))
            assert inside(profile["task"], (asked,))
    for profile, tasks, rank in product(found, (1, 2, 64), (1, 5, 16)):
        assert all(inside(profile[name], shape) for name, shape in LAYOUT.shapes(tasks, rank).items())
        assert not any(inside(profile[name], shape) for name, shape in LAYOUT.shapes(65, 16).items())


@pytest.mark.parametrize("usual", [1, 8, 100])
def test_a_merged_plan_takes_every_step_and_is_tuned_for_the_usual_one(usual: int) -> None:
    first, rest = profiles({"images": IMAGES}, Capacity(32, usual, 0, 0, 0))
    assert first == {"images": ((1, 3, 8, 8),) * 3}
    least, tuned, most = rest["images"]
    assert (least[0], most[0]) == (2, 32)
    assert tuned[0] == min(max(usual, 2), 32)


def test_only_inputs_with_a_dynamic_size_are_named() -> None:
    fixed = TensorInfo("fixed", FLOAT, (2, 3))
    assert set(profiles({"images": IMAGES, "fixed": fixed}, Capacity(4, 2, 0, 0, 0))[0]) == {"images"}
