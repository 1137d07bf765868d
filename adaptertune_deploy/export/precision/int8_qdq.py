"""int8 as TensorRT and OpenVINO read it: QuantizeLinear and DequantizeLinear around products with constant weights.

Everything is symmetric, with zero points of 0, since TensorRT takes no other: one scale for what a product multiplies,
and one for each output channel of the weight, which is stored in int8. Before that, channels of very different size are
evened out (precision.smooth): for nothing where a norm comes before, whose own scale and bias take the factor in; else
by one Mul that engines compute together with its neighbours, where that is worth it.

What stays float32 is what int8 costs answers for and saves little on: adapters, heads, the attention's own products,
norms, the patch embedding.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import onnx

from adaptertune_deploy.export.onnx_file import AnyArray, Held, OnnxFile, array
from adaptertune_deploy.export.precision.products import LEVELS, products, quantised
from adaptertune_deploy.export.precision.ranges import Ranges
from adaptertune_deploy.export.precision.smooth import choose

WORTH = 0.9  # of the error without: what a Mul of its own has to come below
ZERO = "int8.0"


def make(file: OnnxFile, ranges: Ranges) -> OnnxFile:
    """Return the graph with quantised products.

    Args:
        file: the float32 graph; left as it is.
        ranges: measured on calibration images.
    """
    return _Quantiser(file, ranges).run()


class _Quantiser:
    def __init__(self, file: OnnxFile, ranges: Ranges) -> None:
        self.file, self.ranges = file, ranges
        self.model = onnx.ModelProto()
        self.model.CopyFrom(file.model)
        self.found = products(file)
        self.tensors: dict[str, Held] = {**file.tensors, ZERO: np.zeros((), np.int8)}
        self.makers = {name: node for node in self.model.graph.node for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.model.graph.node:
            for name in node.input:
                self.readers[name].append(node)
        self.nodes: list[onnx.NodeProto] = []
        self.sources: dict[str, str] = {}  # what is multiplied -> the same, dequantised
        self.factors: dict[str, AnyArray] = {}
        self.weights: set[str] = set()

    def run(self) -> OnnxFile:
        for node in self.model.graph.node:
            name = self.found.weights.get(node.output[0])
            if name is not None:
                source = node.input[0]
                if source not in self.sources:
                    self._quantise(source)
                node.input[0], node.input[1] = self.sources[source], self._weight(name, self.factors[source])
            self.nodes.append(node)
        del self.model.graph.node[:]
        self.model.graph.node.extend(self.nodes)
        read = {name for node in self.nodes for name in node.input}
        return OnnxFile(self.model, {name: tensor for name, tensor in self.tensors.items() if name in read})

    def _quantise(self, source: str) -> None:
        """Even out and quantise what products multiply."""
        multiplying = [self.found.weights[node.output[0]] for node in self._products(source)]
        weights = [self._array(name) for name in dict.fromkeys(multiplying)]
        rows, sizes = self.ranges.rows[source], self.ranges.channels[source]
        best, plain = choose(rows, sizes, weights), choose(rows, sizes, weights, (0.0,))
        norm = self._norm(source)
        given = source
        if norm is not None:
            for place, end in ((1, "scale"), (2, "bias"))[: len(norm.input) - 1]:
                even = f"{source}.even.{end}"  # others may read the norm's own: equal constants are one
                self.tensors[even] = self._array(norm.input[place]) / best.factor
                norm.input[place] = even
        elif best.error < WORTH * plain.error:
            given = f"{source}.even"
            self.tensors[f"{source}.factor"] = 1 / best.factor
            self.nodes.append(_node("Mul", [source, f"{source}.factor"], given))
        else:
            best = plain
        scale, short, result = f"{source}.scale", f"{source}.int8", f"{source}.dequantised"
        self.tensors[scale] = np.array(best.largest / LEVELS, dtype=np.float32)
        self.nodes.append(_node("QuantizeLinear", [given, scale, ZERO], short))
        self.nodes.append(_node("DequantizeLinear", [short, scale, ZERO], result))
        self.sources[source], self.factors[source] = result, best.factor

    def _products(self, source: str) -> list[onnx.NodeProto]:
        return [node for node in self.readers[source] if node.output[0] in self.found.weights]

    def _norm(self, source: str) -> onnx.NodeProto | None:
        """Return the norm that makes a value for products alone, None where something else does."""
        node = self.makers.get(source)
        if node is None or node.op_type != "LayerNormalization":
            return None
        return node if len(self._products(source)) == len(self.readers[source]) else None

    def _weight(self, name: str, factor: AnyArray) -> str:
        """Return the name of a weight after it went through int8."""
        result = f"{name}.dequantised"
        if name not in self.weights:
            self.weights.add(name)
            weight = quantised(name, self._array(name) * factor[:, None])
            zeros = f"int8.0x{len(weight.scale)}"
            self.tensors |= {weight.name: weight.values, weight.scale_name: weight.scale}
            self.tensors[zeros] = np.zeros(len(weight.scale), np.int8)
            self.nodes.append(_node("DequantizeLinear", [weight.name, weight.scale_name, zeros], result, axis=1))
        return result

    def _array(self, name: str) -> AnyArray:
        return array(self.file.tensors[name])


def _node(operator: str, inputs: list[str], result: str, **attributes: Any) -> onnx.NodeProto:
    return onnx.helper.make_node(operator, inputs, [result], name=f"{result}.{operator}", **attributes)
