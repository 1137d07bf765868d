"""torch -> one self-contained ONNX file of plain operators that ONNX Runtime and TensorRT 10.3 read.

A network is traced once; what is done to its graph after that is in export.passes.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import onnx
import onnx_ir as ir
import torch
from torch import Tensor, nn

from adaptertune_deploy import __version__
from adaptertune_deploy.core.errors import AtdError, ExportError
from adaptertune_deploy.export import onnx_file
from adaptertune_deploy.export.onnx_file import IR_VERSION, OPSET, OnnxFile
from adaptertune_deploy.export.passes.class_token import class_token
from adaptertune_deploy.export.passes.flat_reshapes import flat_reshapes
from adaptertune_deploy.export.passes.late_batch import late_batch
from adaptertune_deploy.export.passes.names import name_all
from adaptertune_deploy.export.passes.pooled_token import pooled_token
from adaptertune_deploy.export.passes.qkv_gather import qkv_gather
from adaptertune_deploy.export.passes.rewriting import AnyArray
from adaptertune_deploy.model.attention import plain_attention

REWRITES = (flat_reshapes, qkv_gather, class_token, late_batch, pooled_token)


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
    metadata: Mapping[str, str],
    what: str,
    weights: Mapping[str, AnyArray] | None = None,
) -> bytes:
    """Trace a network, put its graph into the form that every engine reads well, and return its ONNX file.

    Args:
        network: in eval mode, on the CPU.
        arguments: what its forward takes, in order.
        output: name of its one output.
        metadata: the graph's key-value pairs.
        what: name of the backbone, for messages.
        weights: the timm model's state_dict, whose names the graph's weights get.

    Raises:
        ExportError: the network can't be traced, is too large for one file, or its graph is not plain ONNX with these
            dynamic axes.
    """
    model, traced = _trace(network, arguments, output, what)
    for rewrite in REWRITES:
        rewrite(model)
    name_all(model, weights or {})
    _clean(model, metadata)
    held = tuple(model.graph.initializers.values())
    file = _to_file(model)
    # onnxscript keeps the last graph that it rewrote, and would keep the weights with it.
    for value in (*traced, *held):
        value.const_value = None
    del model, traced, held
    _check(file, _flat(arguments), what)
    return onnx_file.write(file, what)


def _trace(network: nn.Module, arguments: Arguments, output: str, what: str) -> tuple[ir.Model, tuple[ir.Value, ...]]:
    """Return what torch's exporter makes of a network, and the values that held its weights at first.

    The graph's weights are the network's own memory where they can be.
    """
    try:
        with _quiet(), plain_attention(network), torch.no_grad():
            program = torch.onnx.export(
                network,
                _pick(arguments, "example"),
                dynamo=True,
                opset_version=OPSET,
                input_names=[entry.name for entry in _flat(arguments)],
                output_names=[output],
                dynamic_shapes=_dynamic_shapes(arguments),
                optimize=False,
                verbose=False,
            )
            assert program is not None  # with dynamo=True it never is
            traced = tuple(program.model.graph.initializers.values())
            program.optimize()
            return program.model, traced
    except AtdError:
        raise
    except Exception as error:  # noqa: BLE001  tracing runs timm's code, which may raise anything
        raise ExportError(f"{what} can't be traced to ONNX ({_reason(error)}); choose another backbone") from None


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


def _reason(error: BaseException) -> str:
    """Return the first line of the innermost cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"[:200]


def _clean(model: ir.Model, metadata: Mapping[str, str]) -> None:
    """Drop what tracing leaves behind (source paths, notes on nodes and values), and put the metadata in."""
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "adaptertune-deploy", __version__
    graph = model.graph
    graph.name = "adaptertune"
    for node in graph:
        node.doc_string = None
        node.metadata_props.clear()
    values = (*graph.inputs, *graph.initializers.values(), *(output for node in graph for output in node.outputs))
    for value in values:
        value.doc_string = None
        value.metadata_props.clear()
    for holder in (model, graph):
        holder.doc_string = None
        holder.metadata_props.clear()
    model.metadata_props.update(sorted(metadata.items()))


def _to_file(model: ir.Model) -> OnnxFile:
    tensors: dict[str, onnx_file.Held] = {}
    for name, value in list(model.graph.initializers.items()):
        assert value.const_value is not None  # an initialiser holds its tensor
        tensors[name] = value.const_value.numpy()
        del model.graph.initializers[name]
    proto = ir.to_proto(model)
    proto.graph.ClearField("value_info")
    return OnnxFile(proto, tensors)


def _check(file: OnnxFile, inputs: Sequence[GraphInput], what: str) -> None:
    """Raise ExportError unless the graph is valid, of opset 20's own operators only, and as dynamic as asked."""
    model = file.model
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
        onnx.checker.check_model(onnx_file.without_weights(file), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(
            f"the graph of {what} is not valid ONNX ({_reason(error)}); choose another backbone"
        ) from None
