"""What an ONNX file takes, gives and says about itself, read without the onnx package and without an engine.

Field numbers: github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.engine import TensorInfo
from adaptertune_deploy.engines.onnx import declared
from adaptertune_deploy.engines.onnx.wire_format import messages, texts, write

# TensorProto.DataType of what numpy has a type for
DTYPES: dict[int, np.dtype[Any]] = {
    1: np.dtype(np.float32),
    2: np.dtype(np.uint8),
    3: np.dtype(np.int8),
    6: np.dtype(np.int32),
    7: np.dtype(np.int64),
    9: np.dtype(np.bool_),
    10: np.dtype(np.float16),
    11: np.dtype(np.float64),
}
MODEL_GRAPH, MODEL_METADATA = 7, 14
GRAPH_INITIALIZER, GRAPH_INPUT, GRAPH_OUTPUT = 5, 11, 12


@dataclass(frozen=True)
class Signature:
    """A graph's inputs and outputs by name, in its order, and its metadata_props."""

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]


def read(data: bytes, where: str) -> Signature:
    """Return what a graph takes, gives and says.

    Args:
        data: the bytes of an ONNX file that engines.onnx.plain_graph accepts.
        where: the file, for messages.

    Raises:
        EngineError: damaged, an input or output that is no array of numbers, or one with a value of its own: such an
            input may be left out, and TensorRT always leaves it out.
    """
    whole = (0, len(data))
    try:
        inputs, outputs = (
            {info.name: info for info in (_value_info(data, *span, where) for span in messages(data, whole, *path))}
            for path in ((MODEL_GRAPH, GRAPH_INPUT), (MODEL_GRAPH, GRAPH_OUTPUT))
        )
        entries = [texts(data, *span, 1, 2) for span in messages(data, whole, MODEL_METADATA)]
        held = {texts(data, *span, 8).get(8, "") for span in messages(data, whole, MODEL_GRAPH, GRAPH_INITIALIZER)}
    except ValueError:
        raise EngineError(f"{where}: not an ONNX file, or a damaged one; run atd export again") from None
    for name in inputs:
        if name in held:
            raise EngineError(f"{where}: input '{name}' has a value in the file; run atd export again")
    return Signature(inputs, outputs, {entry.get(1, ""): entry.get(2, "") for entry in entries})


def value_info(info: TensorInfo) -> bytes:
    """Return the ValueInfoProto of an input or output."""
    dims = b"".join(write(1, write(1 if isinstance(size, int) else 2, size)) for size in info.shape)
    kind = next(number for number, dtype in DTYPES.items() if dtype == info.dtype)
    return write(1, info.name) + write(2, write(1, write(1, kind) + write(2, dims)))


def _value_info(data: bytes, start: int, end: int, where: str) -> TensorInfo:
    """Return a ValueInfoProto's name, dtype and shape; a dynamic dimension without a name is called "?"."""
    found = declared.value(data, start, end)
    if found.kind not in DTYPES:
        raise EngineError(
            f"{where}: '{found.name}' is no array of {', '.join(dtype.name for dtype in DTYPES.values())}; "
            "run atd export again"
        )
    return TensorInfo(found.name, DTYPES[found.kind], found.shape)
