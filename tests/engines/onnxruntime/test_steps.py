"""engines.onnxruntime.steps on ONNX Runtime's CPU provider: the steps and addresses that a CUDA graph asks for.

On a CPU nothing is captured; that a GPU captures is not shown here.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import MERGED, SHARED, select_graph
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.onnxruntime import engine as ort
from adaptertune_deploy.engines.onnxruntime.engine import OrtEngine
from adaptertune_deploy.engines.onnxruntime.providers import CPU

BUNDLE = Path(__file__).parents[2] / "device" / "golden" / "bundle"
SLOTS, WIDTH, RANK, TASKS = (0, 1, 2), 32, 4, 5
DRAW = np.random.default_rng(0)
IMAGES = DRAW.normal(size=(8, 3, 32, 32)).astype(np.float32)
SHAPES = bank.slot_shapes(SLOTS, WIDTH, RANK)
HELD = {name: DRAW.normal(size=(TASKS, *shape), scale=0.3).astype(np.float32) for name, shape in SHAPES.items()}


def graph(task: str | None) -> bytes:
    manifest = bundle.read_manifest(BUNDLE)
    return bundle.read_graph(BUNDLE, select_graph(manifest, MERGED if task else SHARED, Precision.FP32, task))


def engine(task: str | None, steps: tuple[int, ...]) -> OrtEngine:
    session = ort.ort.InferenceSession(graph(task), providers=[CPU])
    return OrtEngine(session, CPU, 0, "g", steps)


class Watched:
    """A session that counts what is bound, and notes the number of every run."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self.numbers: list[str] = []
        self.bindings = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def io_binding(self) -> Any:
        self.bindings += 1
        return self._session.io_binding()

    def run_with_iobinding(self, binding: Any, options: Any) -> None:
        self.numbers.append(options.get_run_config_entry("gpu_graph_annotation_id"))
        self._session.run_with_iobinding(binding, options)


def watched(task: str | None) -> tuple[OrtEngine, Watched]:
    session = Watched(ort.ort.InferenceSession(graph(task), providers=[CPU]))
    return OrtEngine(session, CPU, 0, "g", (1, 2, 4, 8)), session


def resident(opened: OrtEngine) -> Any:
    slab = opened.allocate(SHAPES, TASKS)
    for task in range(TASKS):
        slab.write(task, {name: value[task] for name, value in HELD.items()})
    return slab


def rows(images: int, image: list[int], task: list[int]) -> dict[str, Any]:
    return {bank.IMAGES: IMAGES[:images], bank.IMAGE: np.array(image), bank.TASK: np.array(task)}


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_any_number_of_rows_is_answered_as_without_steps(count: int) -> None:
    plain, stepped = engine(None, ()), engine(None, (1, 2, 4, 8))
    one, other = resident(plain), resident(stepped)
    draw = np.random.default_rng(count)
    for _ in range(4):
        images = int(draw.integers(1, 9))
        feeds = rows(images, draw.integers(0, images, count).tolist(), draw.integers(0, TASKS, count).tolist())
        wanted = plain.run(feeds, one)[bank.FEATURES]
        np.testing.assert_allclose(stepped.run(feeds, other)[bank.FEATURES], wanted, atol=2e-6)


def test_one_slot_alone_and_a_task_that_is_replaced() -> None:
    plain, stepped = engine(None, ()), engine(None, (1, 2, 4))
    one, other = resident(plain), resident(stepped)
    feeds = rows(2, [1, 0], [0, 0])
    for slot in (3, 0, 3):
        wanted = plain.run(feeds, one, slot)[bank.FEATURES]
        np.testing.assert_allclose(stepped.run(feeds, other, slot)[bank.FEATURES], wanted, atol=2e-6)
        for slab in (one, other):
            slab.write(3, {name: -value[3] for name, value in HELD.items()})


def test_a_bank_that_is_fed_along_is_answered_and_captured_by_no_number() -> None:
    opened, session = watched(None)
    feeds = {**rows(2, [1, 0, 1], [2, 0, 4]), **HELD}
    wanted = engine(None, ()).run(feeds)[bank.FEATURES]
    np.testing.assert_allclose(opened.run(feeds)[bank.FEATURES], wanted, atol=2e-6)
    assert session.numbers == ["-1"]


def test_a_step_is_bound_once_and_has_a_number_of_its_own() -> None:
    opened, session = watched(None)
    first, second = resident(opened), resident(opened)
    for count, slab in ((3, first), (4, first), (2, first), (3, second), (3, first)):
        opened.run(rows(count, [0] * count, [1] * count), slab)
    assert session.numbers == ["1", "1", "2", "3", "1"]
    assert session.bindings == 3
    del slab, second
    gc.collect()
    assert opened._steps is not None
    assert len(opened._steps._made) == 1


def test_a_merged_graph_runs_in_steps_too() -> None:
    opened, session = watched("birds")
    plain = engine("birds", ())
    for count in (1, 3, 4):
        feeds = {bank.IMAGES: IMAGES[:count]}
        np.testing.assert_allclose(opened.run(feeds)[bank.LOGITS], plain.run(feeds)[bank.LOGITS], atol=2e-6)
    assert session.numbers == ["1", "2", "2"]


def test_answers_are_the_callers_own() -> None:
    opened = engine("birds", (1, 2))
    first = opened.run({bank.IMAGES: IMAGES[:2]})[bank.LOGITS]
    held = first.copy()
    opened.run({bank.IMAGES: IMAGES[2:4]})
    np.testing.assert_array_equal(first, held)


def test_more_rows_than_the_largest_step_are_refused_and_split_by_who_asks() -> None:
    opened = engine(None, (1, 2, 4))
    assert (opened.limits.rows, opened.limits.max_rows) == ((1, 2, 4), 4)
    with pytest.raises(EngineError, match=r"^a run takes 1 to 4 rows, 5 were given; see -E max_rows$"):
        opened.run(rows(1, [0] * 5, [0] * 5), resident(opened))
