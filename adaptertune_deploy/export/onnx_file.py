"""An ONNX file as its graph and, apart from it, its tensors, which are copied once: into the bytes that are written.

The onnx package holds a model as objects, so that reading one and writing it again takes several times its size, almost
all of it weights that nobody looks at. Here the graph alone becomes an object; each tensor stays where it is, a view of
the file's bytes or of somebody's array. Field numbers:
github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from adaptertune_deploy.core.errors import ExportError
from adaptertune_deploy.engines.wire_format import fields, write_key

# Opset 20 is the newest that TensorRT 10.3 (JetPack 6) reads and the first with a native Gelu; IR version 10 is what
# ONNX Runtime 1.20 reads.
OPSET = 20
IR_VERSION = 10
MAX_BYTES = (1 << 31) - (1 << 20)  # protobuf's limit for one message, less room for everything but tensors

AnyArray = npt.NDArray[Any]
Held = memoryview | AnyArray

GRAPH, INITIALIZER, TENSOR_NAME, RAW_DATA = 7, 5, 8, 9  # numbers of ModelProto's, GraphProto's and TensorProto's fields


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """One graph.

    model: everything but the tensors; its graph has no initialisers.
    tensors: name -> an array, or the bytes of a TensorProto, in the file's order.
    """

    model: onnx.ModelProto
    tensors: dict[str, Held]


def read(data: bytes, where: str) -> OnnxFile:
    """Return a file's graph and views of its tensors.

    Raises:
        ExportError: not an ONNX file.
    """
    view = memoryview(data)
    model = onnx.ModelProto()
    tensors: dict[str, Held] = {}
    try:
        for number, _, key, start, stop in fields(view, 0, len(view)):
            if number != GRAPH:
                model.MergeFromString(data[key:stop])
                continue
            graph = view[start:stop]
            rest = bytearray()
            for inner, _, inner_key, inner_start, inner_stop in fields(graph, 0, len(graph)):
                if inner == INITIALIZER:
                    tensor = graph[inner_start:inner_stop]
                    tensors[_name(tensor)] = tensor
                else:
                    rest += graph[inner_key:inner_stop]
            model.graph.MergeFromString(bytes(rest))
    except Exception as error:  # noqa: BLE001  protobuf's errors have no public base
        raise ExportError(f"{where}: not an ONNX file, or a damaged one ({error}); run atd export again") from None
    return OnnxFile(model, tensors)


def write(file: OnnxFile, what: str) -> bytes:
    """Return a file's bytes, always the same for the same content.

    Args:
        file: its arrays may be views of any layout.
        what: name of the graph, for messages.

    Raises:
        ExportError: it is too large for one file.
    """
    bare = onnx.ModelProto()
    bare.CopyFrom(file.model)
    bare.ClearField("graph")
    graph = file.model.graph.SerializeToString(deterministic=True)
    heads = {name: _head(name, tensor) for name, tensor in file.tensors.items()}
    sizes = {name: len(heads[name]) + tensor.nbytes for name, tensor in file.tensors.items()}
    keys = {name: write_key(INITIALIZER, size) for name, size in sizes.items()}
    total = len(graph) + sum(len(key) for key in keys.values()) + sum(sizes.values())
    if total > MAX_BYTES:
        raise ExportError(
            f"the graph of {what} takes {total / 2**30:.1f} GiB, one ONNX file at most 2; take a smaller backbone"
        )
    # Written piece by piece, a tensor at a time: joining a list would hold a copy of every transposed weight as well.
    out = io.BytesIO()
    out.write(bare.SerializeToString(deterministic=True) + write_key(GRAPH, total) + graph)
    for name, tensor in file.tensors.items():
        out.write(keys[name] + heads[name])
        out.write(tensor if isinstance(tensor, memoryview) else np.ascontiguousarray(tensor).data)
    return out.getvalue()


def _head(name: str, tensor: Held) -> bytes:
    """Return what comes before an array's bytes in its TensorProto."""
    if isinstance(tensor, memoryview):
        return b""
    kind = onnx.helper.np_dtype_to_tensor_dtype(tensor.dtype)
    head: bytes = onnx.TensorProto(name=name, data_type=kind, dims=tensor.shape).SerializeToString(deterministic=True)
    return head + write_key(RAW_DATA, tensor.nbytes)


def _name(tensor: memoryview) -> str:
    return next(
        bytes(tensor[start:stop]).decode()
        for number, _, _, start, stop in fields(tensor, 0, len(tensor))
        if number == TENSOR_NAME
    )
