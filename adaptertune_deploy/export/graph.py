"""torch -> one self-contained ONNX file of plain operators that ONNX Runtime and TensorRT 10.3 read.

Opset 20 is the newest that TensorRT 10.3 (JetPack 6) reads and the first with a native Gelu; IR version 10 is what
ONNX Runtime 1.20 reads.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from adaptertune_deploy import __version__
from adaptertune_deploy.core.errors import AtdError, ExportError

OPSET = 20
IR_VERSION = 10
MAX_BYTES = (1 << 31) - (1 << 20)  # protobuf's limit for one message, less room for everything but tensors


@dataclass(frozen=True, eq=False)
class GraphInput:
    """One input of a graph.

    example: a tensor to trace with; its dynamic axes are of at least 2, and of different sizes for different names.
    axes: axis -> name of the dynamic dimension.
    """

    name: str
    example: Tensor
    axes: Mapping[int, str]


Arguments = Sequence[GraphInput | tuple[GraphInput, ...]]


def to_onnx(
    network: nn.Module,
    arguments: Arguments,
    output: str,
    renames: Mapping[str, str],
    metadata: Mapping[str, str],
    what: str,
) -> bytes:
    """Trace a network and return the bytes of its ONNX file.

    Args:
        network: in eval mode, on the CPU.
        arguments: what its forward takes, in order.
        output: name of the one output.
        renames: parameter name in `network` -> its name in the graph.
        metadata: the graph's key-value pairs.
        what: name of the backbone, for messages.

    Raises:
        ExportError: the network can't be traced, is too large for one file, or its graph is not plain ONNX with these
            dynamic axes.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    if size > MAX_BYTES:
        raise ExportError(
            f"{what} holds {size / 2**30:.1f} GiB of weights, one ONNX file at most 2; take a smaller one"
        )
    try:
        with _quiet(), _plain_attention(network), torch.no_grad():
            program = torch.onnx.export(
                network,
                _pick(arguments, "example"),
                dynamo=True,
                opset_version=OPSET,
                input_names=[entry.name for entry in _flat(arguments)],
                output_names=[output],
                dynamic_shapes=_dynamic_shapes(arguments),
                verbose=False,
            )
            assert program is not None  # with dynamo=True it never is
            model = program.model_proto
    except AtdError:
        raise
    except Exception as error:  # noqa: BLE001  tracing runs timm's code, which may raise anything
        raise ExportError(f"{what} can't be traced to ONNX ({_reason(error)}); choose another backbone") from None
    _clean(model, renames, metadata)
    _check(model, _flat(arguments), what)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _flat(arguments: Arguments) -> list[GraphInput]:
    return [entry for item in arguments for entry in (item if isinstance(item, tuple) else (item,))]


def _pick(arguments: Sequence[Any], attribute: str) -> tuple[Any, ...]:
    """Return one attribute of every input, in the arguments' own nesting."""
    return tuple(_pick(item, attribute) if isinstance(item, tuple) else getattr(item, attribute) for item in arguments)


def _dynamic_shapes(arguments: Arguments) -> tuple[Any, ...]:
    """Return torch.export's dynamic_shapes; one Dim per name says which axes are equal."""
    names = sorted({name for entry in _flat(arguments) for name in entry.axes.values()})
    dims = {name: torch.export.Dim(name) for name in names}

    def replaced(item: Any) -> Any:
        return tuple(map(replaced, item)) if isinstance(item, tuple) else {axis: dims[item[axis]] for axis in item}

    return tuple(map(replaced, _pick(arguments, "axes")))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's warnings and log lines from the person's terminal; errors come as exceptions."""
    muted = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(muted)


@contextlib.contextmanager
def _plain_attention(network: nn.Module) -> Iterator[None]:
    """Let timm write attention as q * scale, MatMul, Softmax, MatMul, the pattern that TensorRT and ORT fuse.

    torch's scaled_dot_product_attention becomes eight more nodes a block, which recompute shapes at run time.
    """
    fused: list[Any] = [module for module in network.modules() if getattr(module, "fused_attn", False) is True]
    for module in fused:
        module.fused_attn = False
    try:
        yield
    finally:
        for module in fused:
            module.fused_attn = True


def _reason(error: BaseException) -> str:
    """Return the first line of the innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:200]


def _clean(model: onnx.ModelProto, renames: Mapping[str, str], metadata: Mapping[str, str]) -> None:
    """Drop what tracing leaves behind (source paths, wrong shapes, node notes), rename tensors, add the metadata."""
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "adaptertune-deploy", __version__
    graph = model.graph
    graph.name = "adaptertune"
    for holder in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")
    graph.ClearField("value_info")
    _drop_flat_reshapes(graph)
    _rename(graph, renames)
    for key in sorted(metadata):
        model.metadata_props.add(key=key, value=metadata[key])


def _drop_flat_reshapes(graph: onnx.GraphProto) -> None:
    """Remove every Reshape to [-1] of an input that is one-dimensional already; index_select leaves them."""
    flat = {entry.name for entry in graph.input if len(entry.type.tensor_type.shape.dim) == 1}
    shapes = {entry.name: entry for entry in graph.initializer if list(entry.dims) == [1]}
    replaced: dict[str, str] = {}
    for node in list(graph.node):
        if node.op_type != "Reshape" or node.input[0] not in flat or node.input[1] not in shapes:
            continue
        if numpy_helper.to_array(shapes[node.input[1]]).tolist() == [-1]:
            replaced[node.output[0]] = node.input[0]
            graph.node.remove(node)
    for node in graph.node:
        node.input[:] = [replaced.get(name, name) for name in node.input]
    used = {name for node in graph.node for name in node.input}
    for entry in [entry for entry in graph.initializer if entry.name not in used]:
        graph.initializer.remove(entry)


def _rename(graph: onnx.GraphProto, renames: Mapping[str, str]) -> None:
    for entry in graph.initializer:
        entry.name = renames.get(entry.name, entry.name)
    for node in graph.node:
        node.input[:] = [renames.get(name, name) for name in node.input]


def _check(model: onnx.ModelProto, inputs: Sequence[GraphInput], what: str) -> None:
    """Raise ExportError unless the graph is valid, of opset 20's own operators only, and as dynamic as asked."""
    foreign = sorted(
        {f"{node.domain}.{node.op_type}" for node in model.graph.node if node.domain not in ("", "ai.onnx")}
    )
    opsets = {entry.domain: entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")}
    if foreign or list(opsets.values()) != [OPSET]:
        raise ExportError(f"the graph of {what} is not plain opset {OPSET} (found {opsets}, {', '.join(foreign)})")
    del model.opset_import[:]
    model.opset_import.add(domain="", version=OPSET)
    found = {entry.name: entry.type.tensor_type.shape.dim for entry in model.graph.input}
    for entry in inputs:
        names = {axis: dim.dim_param for axis, dim in enumerate(found[entry.name]) if dim.dim_param}
        if names != dict(entry.axes):
            raise ExportError(
                f"tracing {what} left input '{entry.name}' with the dynamic axes {names}, expected {dict(entry.axes)}; "
                "choose another backbone"
            )
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(
            f"the graph of {what} is not valid ONNX ({_reason(error)}); choose another backbone"
        ) from None
