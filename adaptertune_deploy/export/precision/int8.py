"""int8 as ONNX Runtime's CPU provider multiplies it: weights are stored, activations are measured in every run.

Each product with a constant weight [K, N] becomes DynamicQuantizeLinear, MatMulInteger, Cast and Mul, which the
provider runs as one operator. Weights have a scale for each output channel and no zero point; no images are needed.
Adapters and heads stay float32: they are 1 % of the work, and quantised they would double the error. So do the
attention's own products, norms and the patch embedding.

A range is that of everything in a run, so a row's answer depends a little on the rows beside it.

A processor without VNNI adds pairs of products u8 x s8 in 16 bits, and what overflows is cut off. ONNX Runtime is told
to multiply u8 x u8 there, which is exact (engines.onnxruntime.session), so sums are the same everywhere.
"""

from __future__ import annotations

import onnx
from onnx import TensorProto

from adaptertune_deploy.export.onnx_file import Held, OnnxFile, array
from adaptertune_deploy.export.precision.products import Weight, products, quantised
from adaptertune_deploy.export.precision.ranges import Ranges

ENDS = (".int8", ".int8.scale", ".int8.zero")  # of what DynamicQuantizeLinear gives


def make(file: OnnxFile, ranges: Ranges) -> OnnxFile:
    """Return the graph with int8 products; `ranges` are not looked at."""
    model = onnx.ModelProto()
    model.CopyFrom(file.model)
    found = products(file)
    tensors: dict[str, Held] = {name: tensor for name, tensor in file.tensors.items() if name not in found.only}
    nodes: list[onnx.NodeProto] = []
    measured: set[str] = set()
    for node in model.graph.node:
        name = found.weights.get(node.output[0])
        if name is None:
            nodes.append(node)
            continue
        weight = quantised(name, array(file.tensors[name]))
        tensors |= {weight.name: weight.values, weight.scale_name: weight.scale}
        source = node.input[0]
        if source not in measured:
            measured.add(source)
            nodes.append(_node("DynamicQuantizeLinear", source, [source], [source + end for end in ENDS]))
        nodes += _product(node, weight, source)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return OnnxFile(model, tensors)


def _product(node: onnx.NodeProto, weight: Weight, source: str) -> list[onnx.NodeProto]:
    """Return the nodes that take a MatMul's place, in the order and form that ONNX Runtime fuses."""
    (result,) = node.output
    values, scale, zero = (source + end for end in ENDS)
    sums, floats, scales = (f"{result}.{part}" for part in ("int32", "sum", "scale"))
    return [
        _node("MatMulInteger", node.name, [values, weight.name, zero], [sums]),
        onnx.helper.make_node("Cast", [sums], [floats], name=f"{node.name}.Cast", to=TensorProto.FLOAT),
        _node("Mul", f"{node.name}.scale", [scale, weight.scale_name], [scales]),
        _node("Mul", node.name, [floats, scales], [result]),
    ]


def _node(operator: str, name: str, inputs: list[str], outputs: list[str]) -> onnx.NodeProto:
    return onnx.helper.make_node(operator, inputs, outputs, name=f"{name}.{operator}")
