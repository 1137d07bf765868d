"""Where a graph of another precision leaves the float32 one: the difference behind every block."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.precision import TOLERANCES, Precision
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.table import fitting
from adaptertune_deploy.export import onnx_file
from adaptertune_deploy.export.onnx_file import OnnxFile

BLOCK = re.compile(r"blocks\.(\d+)\.")
END = ".behind"
BATCH = 4
IMAGES = 8


@dataclass(frozen=True)
class Explanation:
    """How far each block's output lies from that of the float32 graph.

    precision: of the other graph.
    errors: block -> size of the difference as a share of the output's size (root of the sums of squares).
    """

    precision: Precision
    errors: dict[int, float]

    @property
    def allowed(self) -> float:
        """What a block may differ by: the share of the largest logit that the precision's tolerance allows."""
        return TOLERANCES[self.precision].rtol

    @property
    def first(self) -> int | None:
        """The first block that differs by more than is allowed."""
        return next((block for block, error in self.errors.items() if not error <= self.allowed), None)

    @property
    def words(self) -> str:
        """All of it in one line."""
        each = ", ".join(f"{block}: {_percent(error)}" for block, error in self.errors.items())
        found = "no block" if self.first is None else f"block {self.first} is the first that"
        return f"{self.precision}: {found} differs from fp32 by more than {_percent(self.allowed)} (block {each})"


def explain(
    traced: bytes,
    made: bytes,
    precision: Precision,
    adapters: Sequence[Adapter],
    slots: Sequence[int],
    images: Array,
    options: EngineOptions,
) -> Explanation:
    """Run the shared graph in float32 and in a precision, and compare the blocks' outputs.

    Args:
        traced: the float32 graph.
        made: the graph that was made out of it; its values have the same names.
        precision: its precision.
        adapters: the tasks, of which each image is asked for one.
        slots: the graphs' slots.
        images: float32 [N, 3, H, W], of which some are taken.
        options: what to run both on.
    """
    ends = block_ends(onnx_file.read(traced, "the traced graph"))
    exact = _outputs(traced, Precision.FP32, ends, adapters, slots, images, options)
    found = _outputs(made, precision, ends, adapters, slots, images, options)
    return Explanation(precision, {block: _error(found[block], exact[block]) for block in ends})


def block_ends(file: OnnxFile) -> dict[int, str]:
    """Return the last sum of each block, its adapter included: the residual stream behind it."""
    found: dict[int, str] = {}
    for node in file.model.graph.node:
        name = BLOCK.match(node.output[0])
        if name is not None and node.op_type == "Add":
            found[int(name[1])] = node.output[0]
    return dict(sorted(found.items()))


def _outputs(
    data: bytes,
    precision: Precision,
    ends: dict[int, str],
    adapters: Sequence[Adapter],
    slots: Sequence[int],
    images: Array,
    options: EngineOptions,
) -> dict[int, Array]:
    where = f"the {precision} graph"
    file = onnx_file.read(data, where)
    for name in ends.values():
        cast = onnx.helper.make_node("Cast", [name], [name + END], to=TensorProto.FLOAT)
        file.model.graph.node.append(cast)
        file.model.graph.output.append(onnx.helper.make_tensor_value_info(name + END, TensorProto.FLOAT, None))
    watched = onnx_file.write(file, where)
    del file
    found: dict[int, list[Array]] = {block: [] for block in ends}
    with contextlib.closing(open_engine(watched, where, fitting(options, precision))) as engine:
        (width, *_) = engine.inputs[bank.bank_names(slots)[0]].shape[1:]
        assert isinstance(width, int)  # D, in every shared graph
        stacked = bank.stack([bank.folded_blocks(adapter) for adapter in adapters], slots, width)
        held = {name: value.astype(engine.inputs[name].dtype) for name, value in stacked.items()}
        for start in range(0, min(IMAGES, len(images)), BATCH):
            rows = images[start : start + BATCH]
            task = (start + np.arange(len(rows))) % len(adapters)
            answers = engine.run({bank.IMAGES: rows, bank.IMAGE: np.arange(len(rows)), bank.TASK: task, **held})
            for block, name in ends.items():
                found[block].append(answers[name + END])
    return {block: np.concatenate(parts) for block, parts in found.items()}


def _error(found: Array, exact: Array) -> float:
    size = float(np.linalg.norm(exact.astype(np.float64)))
    return float(np.linalg.norm(found.astype(np.float64) - exact)) / (size or 1.0)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
