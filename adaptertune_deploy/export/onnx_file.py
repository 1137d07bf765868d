"""An ONNX file as its graph and, apart from it, its tensors, which are copied once: into the bytes that are written.

The onnx package holds a model as objects, so that reading one and writing it again takes several times its size, almost
all of it weights that nobody looks at. Here the graph alone becomes an object; each tensor stays where it is, a view of
the file's bytes or of somebody's array. Field numbers:
github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from adaptertune_deploy.core.errors import ExportError
from adaptertune_deploy.engines.onnx.wire_format import fields, write_key

# Opset 20 is the newest that TensorRT 10.3 (JetPack 6) reads and the first with a native Gelu; IR version 10 is what
# ONNX Runtime 1.20 reads.
OPSET = 20
IR_VERSION = 10
SMALL = 1024  # elements: more than any shape or index, less than any weight
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
        # As bytes, since Python's buffers have no bfloat16.
        raw = tensor if isinstance(tensor, memoryview) else np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data
        out.write(raw)
    return out.getvalue()


def array(tensor: Held) -> AnyArray:
    """Return a tensor as an array, where it can be a view of the file's bytes."""
    if not isinstance(tensor, memoryview):
        return tensor
    proto, raw = onnx.TensorProto(), None
    for number, _, key, start, stop in fields(tensor, 0, len(tensor)):
        if number == RAW_DATA:
            raw = tensor[start:stop]
        else:
            proto.MergeFromString(tensor[key:stop])
    if raw is None:
        return numpy_helper.to_array(proto)
    found: AnyArray = np.frombuffer(raw, onnx.helper.tensor_dtype_to_np_dtype(proto.data_type)).reshape(proto.dims)
    return found


def converted(tensor: AnyArray, kind: int) -> AnyArray:
    """Return an array in an element type of ONNX, rounded to nearest; itself where it has that type."""
    return tensor.astype(onnx.helper.tensor_dtype_to_np_dtype(kind), copy=False)


def set_metadata(model: onnx.ModelProto, metadata: Mapping[str, str]) -> None:
    """Let a model's key-value pairs be these."""
    del model.metadata_props[:]
    for key, value in sorted(metadata.items()):
        model.metadata_props.add(key=key, value=value)


def without_weights(file: OnnxFile) -> onnx.ModelProto:
    """Return the model with inputs in place of its weights, so that looking at it takes no copies of them."""
    light = onnx.ModelProto()
    light.CopyFrom(file.model)
    for name, held in file.tensors.items():
        tensor = array(held)
        if tensor.size > SMALL:
            kind = onnx.helper.np_dtype_to_tensor_dtype(tensor.dtype)
            light.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, tensor.shape))
        else:
            light.graph.initializer.append(numpy_helper.from_array(tensor, name))
    return light


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
