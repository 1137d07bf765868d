"""float16: 11 bits of mantissa, and nothing above 65,504.

Which nodes stay float32 is measured, not listed by model: whoever reads or gives a value beyond LIMIT on the
calibration images, or holds a weight that float16 can't. The limit is 128 below float16's largest number, since other
images reach further; it is that of NVIDIA's AutoCast. Norms and means stay float32 everywhere, as in torch's autocast:
they add up squares, or many numbers, of which an engine may round every partial sum (TensorRT takes a norm's type from
its input).
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.export.onnx_file import AnyArray, OnnxFile, array
from adaptertune_deploy.export.precision.cast import cast
from adaptertune_deploy.export.precision.ranges import Ranges
from adaptertune_deploy.export.precision.values import float_values

LIMIT = 512.0
_SUMS = (
    "BatchNormalization GroupNormalization InstanceNormalization LayerNormalization LpNormalization "
    "Pow ReduceL2 ReduceMean ReduceSum"
)
SUMS = frozenset(_SUMS.split())


def make(file: OnnxFile, ranges: Ranges) -> OnnxFile:
    """Return the graph in float16; so are the bank's inputs, which halves what tasks take on a device.

    Args:
        file: the float32 graph.
        ranges: what its values were on calibration images.
    """
    floats = float_values(file)
    wide = {name for name, tensor in file.tensors.items() if name in floats and not fits(array(tensor))}
    kept = {
        node.output[0]
        for node in file.model.graph.node
        if node.op_type in SUMS
        or any(ranges.largest.get(name, 0.0) > LIMIT or name in wide for name in (*node.input, *node.output))
    }
    rows = (bank.IMAGES, bank.IMAGE, bank.TASK)
    inputs = [entry.name for entry in file.model.graph.input if entry.name in floats and entry.name not in rows]
    return cast(file, TensorProto.FLOAT16, kept, inputs)


def fits(weight: AnyArray) -> bool:
    """Return whether float16 holds a weight: no number too large, and no scalar that would become 0."""
    with np.errstate(over="ignore"):
        short = weight.astype(np.float16)
    return bool(np.isfinite(short).all()) and not (weight.size == 1 and bool(weight.any()) and not short.any())
