"""bfloat16: the range of float32 with 8 bits of mantissa, so that nothing overflows and no image has to be measured.

Opset 20 knows no bfloat16 convolution, sine or cosine: these stay float32. So do norms and means, as in float16. The
bank's inputs stay float32, since numpy, which fills them, has no bfloat16: a task's tensors are cast when they have
been gathered.
"""

from __future__ import annotations

from onnx import TensorProto

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.export.onnx_file import OnnxFile
from adaptertune_deploy.export.precision.cast import cast
from adaptertune_deploy.export.precision.fp16 import SUMS
from adaptertune_deploy.export.precision.ranges import Ranges


def make(file: OnnxFile, ranges: Ranges) -> OnnxFile:
    """Return the graph in bfloat16; `ranges` are not looked at."""
    inputs = {entry.name for entry in file.model.graph.input} - {bank.IMAGES}
    gathers = (node for node in file.model.graph.node if node.op_type == "Gather" and node.input[0] in inputs)
    sums = (node for node in file.model.graph.node if node.op_type in SUMS)
    return cast(file, TensorProto.BFLOAT16, {node.output[0] for node in (*gathers, *sums)})
