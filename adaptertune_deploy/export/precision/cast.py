"""A float32 graph computed in a shorter float type, node by node, with a Cast wherever two neighbours differ.

What goes in and comes out stays float32, but for the inputs that are named. A weight is stored in the type of the nodes
that read it. Values keep their names, so that two precisions can be compared value by value.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

import onnx
from onnx import TensorProto

from adaptertune_deploy.export.onnx_file import Held, OnnxFile, array, converted
from adaptertune_deploy.export.precision.values import float_values, takes

SUFFIXES: dict[int, str] = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}


def cast(file: OnnxFile, kind: int, kept: Collection[str], inputs: Collection[str] = ()) -> OnnxFile:
    """Return the graph with its nodes in another float type.

    Args:
        file: the float32 graph; left as it is.
        kind: TensorProto.FLOAT16 or BFLOAT16.
        kept: nodes that stay float32, by their first output; so does every node whose operator takes no such type.
        inputs: graph inputs that take the type themselves.
    """
    return _Caster(file, kind, kept, inputs).run()


class _Caster:
    def __init__(self, file: OnnxFile, kind: int, kept: Collection[str], inputs: Collection[str]) -> None:
        self.file = file
        self.kind = kind
        self.model = onnx.ModelProto()
        self.model.CopyFrom(file.model)
        self.floats = float_values(file)
        self.kinds = {
            node.output[0]: kind
            if node.output[0] not in kept and takes(node, self.floats, kind)
            else int(TensorProto.FLOAT)
            for node in file.model.graph.node
        }
        self.held: dict[str, int] = {}  # value that is computed or handed over -> its type in the new graph
        self.casts: dict[tuple[str, int], str] = {}
        self.nodes: list[onnx.NodeProto] = []
        for entry in self.model.graph.input:
            if entry.name in self.floats:
                low = entry.name in inputs
                self.held[entry.name] = kind if low else int(TensorProto.FLOAT)
                entry.type.tensor_type.elem_type = self.held[entry.name]

    def run(self) -> OnnxFile:
        readers = self._readers()
        names: dict[tuple[str, int], str] = {}
        tensors: dict[str, Held] = {}
        for name, tensor in self.file.tensors.items():
            if name not in self.floats:
                tensors[name] = tensor
                continue
            for kind in sorted(readers[name]):
                alone = len(readers[name]) == 1 or kind == TensorProto.FLOAT
                own = name if alone else f"{name}.{SUFFIXES[kind]}"
                names[name, kind] = own
                tensors[own] = tensor if kind == TensorProto.FLOAT else converted(array(tensor), kind)
        outputs = {entry.name for entry in self.model.graph.output}
        for node in self.model.graph.node:
            kind = self.kinds[node.output[0]]
            for place, name in enumerate(node.input):
                if name in self.file.tensors:
                    node.input[place] = names.get((name, kind), name)
                elif name in self.floats and self.held[name] != kind:
                    node.input[place] = self._cast(name, kind)
            self.held |= {name: kind for name in node.output if name in self.floats}
            ends = [place for place, name in enumerate(node.output) if name in outputs and self._is_low(name)]
            renamed = {node.output[place]: f"{node.output[place]}.{SUFFIXES[kind]}" for place in ends}
            for place in ends:
                node.output[place] = renamed[node.output[place]]
            self.nodes.append(node)
            self.nodes += [_cast_node(low, TensorProto.FLOAT, name) for name, low in renamed.items()]
        del self.model.graph.node[:]
        self.model.graph.node.extend(self.nodes)
        return OnnxFile(self.model, tensors)

    def _is_low(self, name: str) -> bool:
        return self.held.get(name, TensorProto.FLOAT) != TensorProto.FLOAT

    def _readers(self) -> dict[str, set[int]]:
        """Return the types in which each float32 initialiser is read."""
        found: dict[str, set[int]] = defaultdict(set)
        for node in self.file.model.graph.node:
            for name in node.input:
                if name in self.file.tensors and name in self.floats:
                    found[name].add(self.kinds[node.output[0]])
        return found

    def _cast(self, name: str, kind: int) -> str:
        """Return the name of a value in another type; it is cast once, whoever reads it."""
        if (name, kind) not in self.casts:
            self.casts[name, kind] = f"{name}.{SUFFIXES[kind]}"
            self.nodes.append(_cast_node(name, kind, self.casts[name, kind]))
        return self.casts[name, kind]


def _cast_node(source: str, kind: int, result: str) -> onnx.NodeProto:
    return onnx.helper.make_node("Cast", [source], [result], name=f"{source}.Cast.{SUFFIXES[kind]}", to=kind)
