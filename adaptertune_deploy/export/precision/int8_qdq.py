"""int8 as TensorRT and OpenVINO read it: QuantizeLinear and DequantizeLinear around products with constant weights.

Everything is symmetric, with zero points of 0, since TensorRT takes no other: one scale for what a product multiplies,
and one for each output channel of the weight, which is stored in int8. Before that, channels of very different size are
evened out (precision.smooth): for nothing where a norm comes before, whose own scale and bias take the factor in; else
by a Mul and an Add that engines compute together with their neighbours, where that is worth it.

What stays float32 is what int8 costs answers for and saves little on: adapters, heads, the attention's own products,
norms, the patch embedding; and every product that is off by more than KEPT on rows of the calibration images.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import onnx

from adaptertune_deploy.export.onnx_file import AnyArray, Held, OnnxFile, array
from adaptertune_deploy.export.precision.products import LEVELS, Weight, products, quantised
from adaptertune_deploy.export.precision.ranges import Ranges
from adaptertune_deploy.export.precision.smooth import Scaling, choose

WORTH = 0.9  # of the error without: what a Mul of its own has to come below
# Of a product's size. In DeiT-Tiny most are off by 0.01; those behind GELU, where few values are large, by up to 0.03.
KEPT = 0.02
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
        self.sources: dict[str, str] = {}  # what is multiplied -> the same, dequantised where it becomes int8
        self.scalings: dict[str, Scaling] = {}  # of those that become int8
        self.short: dict[str, Weight] = {}

    def run(self) -> OnnxFile:
        for node in self.model.graph.node:
            name = self.found.weights.get(node.output[0])
            source = node.input[0] if name is not None else ""
            if name is not None and source not in self.sources:
                self._quantise(source)
            scaling = self.scalings.get(source)
            if name is not None and scaling is not None:
                node.input[0], node.input[1] = self.sources[source], self._weight(name, scaling.factor)
                if scaling.centre:
                    self._add_to_bias(node, name, scaling.centre)
            self.nodes.append(node)
        del self.model.graph.node[:]
        self.model.graph.node.extend(self.nodes)
        read = {name for node in self.nodes for name in node.input}
        return OnnxFile(self.model, {name: tensor for name, tensor in self.tensors.items() if name in read})

    def _quantise(self, source: str) -> None:
        """Even out and quantise what products multiply, unless they stay as they are."""
        multiplying = [self.found.weights[node.output[0]] for node in self._products(source)]
        weights = [self._array(name) for name in dict.fromkeys(multiplying)]
        rows, sizes = self.ranges.rows[source], self.ranges.channels[source]
        norm, plain = self._norm(source), choose(rows, sizes, weights, (0.0,))
        best = choose(rows, sizes, weights, centred=norm is None and self._has_biases(source))
        if norm is None and best.error >= WORTH * plain.error:
            best = plain
        self.sources[source] = source
        if best.error > KEPT:
            return
        given = source
        if norm is not None:
            for place, end in ((1, "scale"), (2, "bias"))[: len(norm.input) - 1]:
                even = f"{source}.even.{end}"  # others may read the norm's own: equal constants are one
                self.tensors[even] = self._array(norm.input[place]) / best.factor
                norm.input[place] = even
        elif best is not plain:
            given, factor, centre = (f"{source}.{end}" for end in ("even", "factor", "centre"))
            self.tensors[factor] = 1 / best.factor
            self.nodes.append(_node("Mul", [source, factor], given))
            if best.centre:
                given = f"{source}.centred"
                self.tensors[centre] = np.array(-best.centre, dtype=np.float32)
                self.nodes.append(_node("Add", [f"{source}.even", centre], given))
        scale, short, result = f"{source}.scale", f"{source}.int8", f"{source}.dequantised"
        self.tensors[scale] = np.array(best.largest / LEVELS, dtype=np.float32)
        self.nodes.append(_node("QuantizeLinear", [given, scale, ZERO], short))
        self.nodes.append(_node("DequantizeLinear", [short, scale, ZERO], result))
        self.sources[source], self.scalings[source] = result, best

    def _has_biases(self, source: str) -> bool:
        """Return whether a constant is added to every product of a value."""
        return all(self._bias(node) is not None for node in self._products(source))

    def _bias(self, node: onnx.NodeProto) -> tuple[onnx.NodeProto, int] | None:
        """Return the Add that alone reads a product, and the place of its constant."""
        readers = self.readers[node.output[0]]
        if len(readers) != 1 or readers[0].op_type != "Add":
            return None
        places = [place for place, name in enumerate(readers[0].input) if name in self.file.tensors]
        return (readers[0], places[0]) if len(places) == 1 else None

    def _add_to_bias(self, node: onnx.NodeProto, name: str, centre: float) -> None:
        """Add to a product's bias what its values lack, of which `centre` was taken away."""
        found = self._bias(node)
        assert found is not None  # else nothing is taken away
        reader, place = found
        weight = self.short[name]
        lacking = centre * (weight.values.astype(np.float32).sum(axis=0) * weight.scale)
        moved = f"{name}.bias.centred"
        self.tensors[moved] = (self._array(reader.input[place]) + lacking).astype(np.float32)
        reader.input[place] = moved

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
        if name not in self.short:
            weight = self.short[name] = quantised(name, self._array(name) * factor[:, None])
            zeros = f"{weight.name}.zeros"  # its own: ONNX Runtime makes another one of it where it needs uint8
            self.tensors |= {weight.name: weight.values, weight.scale_name: weight.scale}
            self.tensors[zeros] = np.zeros(len(weight.scale), np.int8)
            self.nodes.append(_node("DequantizeLinear", [weight.name, weight.scale_name, zeros], result, axis=1))
        return result

    def _array(self, name: str) -> AnyArray:
        return array(self.file.tensors[name])


def _node(operator: str, inputs: list[str], result: str, **attributes: Any) -> onnx.NodeProto:
    return onnx.helper.make_node(operator, inputs, [result], name=f"{result}.{operator}", **attributes)
