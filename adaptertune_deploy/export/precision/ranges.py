"""How far a graph's values reach on real images: measured by the engine, in a copy of the graph that reports it.

Two nodes behind a value (Abs, ReduceMax) hand out its largest magnitude, so that it has not to be kept. What products
with constant weights multiply is handed out whole: int8 looks at each channel, and at some rows.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.progress import Progress, silent
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.engine import AnyArray
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import ON_CPU
from adaptertune_deploy.export import onnx_file
from adaptertune_deploy.export.onnx_file import OnnxFile
from adaptertune_deploy.export.precision.products import products
from adaptertune_deploy.export.precision.values import float_values

END = ".largest"
BATCH = 4  # images of a run: a watched graph fuses nothing and holds more at once
KEPT = 256  # rows


@dataclass(frozen=True, eq=False)
class Ranges:
    """What values were on the images.

    largest: value -> the largest magnitude of everything that it held.
    channels: what a product with a constant weight [K, N] multiplies -> that of each channel, float32 [K].
    rows: the same -> some of its rows, float32 [R, K].
    """

    largest: Mapping[str, float]
    channels: Mapping[str, Array]
    rows: Mapping[str, Array]


NONE = Ranges({}, {}, {})


class _Seen:
    """What was seen so far."""

    def __init__(self, multiplied: Sequence[str], images: int) -> None:
        self.multiplied = multiplied
        self.each = -(-KEPT // images)  # rows kept of an image
        self.largest: dict[str, float] = {}
        self.channels: dict[str, Array] = {}
        self.rows: dict[str, list[Array]] = {name: [] for name in multiplied}

    def add(self, answers: Mapping[str, AnyArray], images: int) -> None:
        for name, value in answers.items():
            if name.endswith(END):
                self._reach(name.removesuffix(END), float(value))
        for name in self.multiplied:
            rows = answers[name].reshape(-1, answers[name].shape[-1])
            sizes = np.abs(rows).max(axis=0)
            self.channels[name] = np.maximum(self.channels[name], sizes) if name in self.channels else sizes
            self._reach(name, float(sizes.max()))
            count = min(len(rows), self.each * images)
            self.rows[name].append(rows[np.arange(count) * len(rows) // count])

    def _reach(self, name: str, size: float) -> None:
        self.largest[name] = max(size, self.largest.get(name, 0.0))

    def ranges(self) -> Ranges:
        return Ranges(self.largest, self.channels, {name: np.concatenate(rows) for name, rows in self.rows.items()})


def measure(
    data: bytes,
    adapters: Sequence[Adapter],
    slots: Sequence[int],
    width: int,
    images: Array,
    tasks: Sequence[int],
    progress: Progress = silent,
) -> Ranges:
    """Run the shared float32 graph on images, each asked for one task, and return what its values were.

    Args:
        data: the graph.
        adapters: the tasks.
        slots: the graph's slots.
        width: D, channels of the backbone's tokens.
        images: float32 [N, 3, H, W].
        tasks: for each image, the place of its task among `adapters`.
        progress: told about images.
    """
    where = "the traced graph"
    file = onnx_file.read(data, where)
    weights = products(file).weights
    multiplied = tuple(dict.fromkeys(node.input[0] for node in file.model.graph.node if node.output[0] in weights))
    watched = onnx_file.write(_watched(file, multiplied), where)
    del file
    seen = _Seen(multiplied, len(images))
    held = bank.stack([bank.folded_blocks(adapter) for adapter in adapters], slots, width)
    with contextlib.closing(open_engine(watched, where, ON_CPU)) as engine:
        for start in range(0, len(images), BATCH):
            progress("calibration", start, len(images))
            rows = images[start : start + BATCH]
            asked = np.array(tasks[start : start + BATCH], dtype=np.int64)
            feeds: dict[str, AnyArray] = {bank.IMAGES: rows, bank.IMAGE: np.arange(len(rows)), bank.TASK: asked, **held}
            seen.add(engine.run(feeds), len(rows))
    progress("calibration", len(images), len(images))
    return seen.ranges()


def _watched(file: OnnxFile, multiplied: Sequence[str]) -> OnnxFile:
    """Return a graph that also reports its float32 values."""
    floats = float_values(file) - file.tensors.keys()
    model = onnx.ModelProto()
    model.CopyFrom(file.model)
    graph = model.graph
    given = {entry.name for entry in graph.output}
    values = [bank.IMAGES, *(name for node in graph.node for name in node.output if name in floats)]
    for name in values:
        if name not in multiplied:
            graph.node.append(onnx.helper.make_node("Abs", [name], [f"{name}.size"]))
            graph.node.append(onnx.helper.make_node("ReduceMax", [f"{name}.size"], [name + END], keepdims=0))
        handed = name if name in multiplied else name + END
        if handed not in given:
            graph.output.append(onnx.helper.make_tensor_value_info(handed, TensorProto.FLOAT, None))
    return OnnxFile(model, file.tensors)
