"""The network of tests.serve.fakes as ONNX graphs, so that a real engine can run it."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.adapter.identity import tensor_name
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.bundle.graph_facts import GraphFacts
from tests.serve.fakes import SLOTS, WIDTH, make_facts, projection

OPSET, IR_VERSION = 20, 10


class Builder:
    """Collects nodes; every method returns the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray[Any, Any]] = {}

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def constant(self, name: str, value: np.ndarray[Any, Any]) -> str:
        self.constants[name] = value
        return name

    def model(self, inputs: list[Any], facts: GraphFacts) -> bytes:
        name, size = (bank.FEATURES, WIDTH) if facts.task is None else (bank.LOGITS, len(facts.task.labels))
        self.nodes[-1].output[0] = name
        answer = helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", size])
        constants = [numpy_helper.from_array(value, name) for name, value in self.constants.items()]
        graph = helper.make_graph(self.nodes, "tiny", inputs, [answer], constants)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
        helper.set_model_props(model, graph_facts.to_metadata(facts))
        onnx.checker.check_model(model, full_check=True)
        return bytes(model.SerializeToString())


def images_input() -> Any:
    return helper.make_tensor_value_info(bank.IMAGES, TensorProto.FLOAT, ["N", 3, 32, 32])


def features(builder: Builder) -> str:
    axes = builder.constant("axes", np.array([2, 3], dtype=np.int64))
    colour = builder.node("ReduceMean", bank.IMAGES, axes, keepdims=0)
    return builder.node("MatMul", colour, builder.constant("projection", projection()))


def shared_graph() -> bytes:
    """Return the shared graph; its bank inputs have dynamic T and r."""
    builder = Builder()
    inputs = [images_input()]
    inputs += [helper.make_tensor_value_info(name, TensorProto.INT64, ["B"]) for name in (bank.IMAGE, bank.TASK)]
    for name, shape in bank.input_shapes(SLOTS, WIDTH).items():
        inputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
    x = builder.node("Gather", features(builder), bank.IMAGE)
    one = builder.constant("one", np.array([1], dtype=np.int64))

    def affine(value: str, weight: str, bias: str) -> str:
        row = builder.node("Unsqueeze", value, one)
        product = builder.node("MatMul", row, builder.node("Gather", weight, bank.TASK))
        return builder.node("Add", builder.node("Squeeze", product, one), builder.node("Gather", bias, bank.TASK))

    for block in SLOTS:
        down, up = ((tensor_name(block, side, "weight"), tensor_name(block, side, "bias")) for side in ("down", "up"))
        x = builder.node("Add", x, affine(builder.node("Gelu", affine(x, *down)), *up))
    return builder.model(inputs, make_facts(None))


def merged_graph(adapter: Adapter) -> bytes:
    """Return one task's merged graph: the same network with the adapter's tensors inside."""
    builder = Builder()
    tensors = bank.folded(adapter)
    x = features(builder)

    def affine(value: str, weight: str, bias: str) -> str:
        product = builder.node("MatMul", value, builder.constant(weight, tensors[weight]))
        return builder.node("Add", product, builder.constant(bias, tensors[bias]))

    for block in adapter.task.adapter.blocks:
        down, up = ((tensor_name(block, side, "weight"), tensor_name(block, side, "bias")) for side in ("down", "up"))
        x = builder.node("Add", x, affine(builder.node("Gelu", affine(x, *down)), *up))
    affine(x, bank.HEAD_WEIGHT, bank.HEAD_BIAS)
    return builder.model([images_input()], make_facts(adapter))
