"""Small graphs in ONNX's text form, and what ONNX Runtime answers with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime
from onnx import numpy_helper

AnyArray = npt.NDArray[Any]


def parse(body: str, **constants: AnyArray) -> ir.Model:
    """Return a graph of opset 20 with these initialisers; shapes are inferred as torch's exporter gives them."""
    proto = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 20]> {body}')
    proto.graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    proto = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    return ir.from_proto(proto)


def answer(model: ir.Model, feeds: Mapping[str, AnyArray]) -> list[AnyArray]:
    """Return the outputs as ONNX Runtime computes them, without its own rewrites."""
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    found: list[AnyArray] = session.run(None, dict(feeds))
    return found


def operators(model: ir.Model) -> Counter[str]:
    """Return how many nodes of each type a graph has."""
    return Counter(node.op_type for node in model.graph)


def draw(*shape: int, seed: int = 0) -> AnyArray:
    """Return random float32 numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)
