"""export.precision.ranges: what is measured is what the graph's values were."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.export.precision import ranges as module
from adaptertune_deploy.export.precision.ranges import Ranges, measure
from tests.export.conftest import SLOTS, WIDTH

WATCHED = (
    "blocks.0.attn.Softmax",
    "blocks.1.mlp.fc1.MatMul",
    "blocks.2.adapter.Add_2",
    "blocks.1.norm2.LayerNormalization",
)


@pytest.fixture(scope="module")
def values(shared_graph: bytes, held: Sequence[Adapter], calibrating: Array) -> dict[str, Array]:
    """Some of the graph's values on all images at once, by the onnx package's own evaluator."""
    from onnx.reference import ReferenceEvaluator

    model = onnx.load_from_string(shared_graph)
    names = [name for name in WATCHED if any(name in node.output for node in model.graph.node)]
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    stacked = bank.stack([bank.folded_blocks(adapter) for adapter in held], SLOTS, WIDTH)
    feeds = {bank.IMAGES: calibrating, bank.IMAGE: np.arange(6), bank.TASK: np.array([0, 1, 2, 0, 1, 2]), **stacked}
    return dict(zip(names, ReferenceEvaluator(model).run(None, feeds), strict=True))


def test_the_largest_magnitude_of_every_value(ranges: Ranges, values: dict[str, Array], calibrating: Array) -> None:
    assert ranges.largest[bank.IMAGES] == np.abs(calibrating).max()
    assert len(values) >= 3
    for name, value in values.items():
        assert ranges.largest[name] == pytest.approx(float(np.abs(value).max()), rel=1e-5)
    assert bank.FEATURES in ranges.largest


def test_channels_and_rows_of_what_is_multiplied(ranges: Ranges, values: dict[str, Array]) -> None:
    name = "blocks.1.norm2.LayerNormalization"
    np.testing.assert_allclose(ranges.channels[name], np.abs(values[name]).max(axis=(0, 1)), rtol=1e-4)
    assert len(ranges.channels) == len(ranges.rows) == 12
    rows = ranges.rows[name]
    assert rows.shape[1] == WIDTH
    assert 6 < len(rows) <= module.KEPT + 6
    every = values[name].reshape(-1, WIDTH)
    for row in rows[:: len(rows) // 5]:
        assert np.abs(every - row).max(axis=1).min() < 1e-4


def test_the_tasks_own_tensors_are_measured_too(
    shared_graph: bytes, held: Sequence[Adapter], calibrating: Array, ranges: Ranges
) -> None:
    loud = Adapter(held[0].task, {name: value * np.float32(30) for name, value in held[0].tensors.items()})
    found = measure(shared_graph, [loud], SLOTS, WIDTH, calibrating[:2], [0, 0])
    name = "blocks.2.adapter.MatMul"
    assert found.largest[name] > 5 * ranges.largest[name]


def test_progress_is_told(shared_graph: bytes, held: Sequence[Adapter], calibrating: Array) -> None:
    told: list[tuple[str, int, int]] = []
    measure(shared_graph, held, SLOTS, WIDTH, calibrating, [0] * 6, lambda *step: told.append(step))
    assert told == [("calibration", 0, 6), ("calibration", 4, 6), ("calibration", 6, 6)]
