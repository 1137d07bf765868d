"""The most that an engine computes in a precision on this machine: large matrix products, one after another.

The graph is made here byte by byte, without the onnx package. It takes one number, so nothing large is copied, and
multiplies a square matrix several times, in each precision as the bundle's graphs do it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import numpy as np

from adaptertune_deploy.bench.interleaved import time_rounds
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.bfloat16 import to_bfloat16
from adaptertune_deploy.engines.engine import AnyArray
from adaptertune_deploy.engines.onnx.wire_format import write
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.table import graph_precision

SIDE, PRODUCTS = 1024, 8  # on a CPU: 17 GFLOP, 4 MB a matrix in float32
GPU_SIDE = 4096  # 1.1 TFLOP, which a large GPU still computes in a millisecond or two
FLOAT, UINT8, INT8, INT64, FLOAT16, BFLOAT16 = 1, 2, 3, 7, 10, 16  # TensorProto.DataType
TYPES = {np.dtype(np.float32): FLOAT, np.dtype(np.uint8): UINT8, np.dtype(np.int8): INT8, np.dtype(np.int64): INT64,
         np.dtype(np.float16): FLOAT16, np.dtype(np.uint16): BFLOAT16}  # fmt: skip
HALVES = {Precision.FP16: FLOAT16, Precision.BF16: BFLOAT16}
OPSET, IR_VERSION = 20, 10
SCALE, ANSWER = "scale", "answer"


def measure_ceiling(
    options: EngineOptions,
    enough: Callable[[int], bool],
    clock: Callable[[], float],
    side: int = SIDE,
) -> float:
    """Return the floating-point operations a second of the fastest run, a multiply-add being two.

    Args:
        options: the engine and its precision.
        enough: see bench.interleaved.time_rounds.
        clock: tells seconds.
        side: of the matrix.

    Raises:
        EngineError: the engine takes no such graph, or not in this precision.
    """
    graph = product_graph(graph_precision(options), side)
    with contextlib.closing(open_engine(graph, "a matrix product", options)) as engine:
        one = np.ones(1, dtype=np.float32)
        seconds = time_rounds({0: lambda: engine.run({SCALE: one})}, enough, clock)[0]
    return 2.0 * side**3 * PRODUCTS / min(seconds)


def product_graph(precision: Precision, side: int) -> bytes:
    """Return an ONNX file: the mean row of (scale A) W W ... W, for matrices [side, side] that keep their size."""
    draw = np.random.default_rng(0)
    start, weight = (draw.normal(size=(side, side)).astype(np.float32) for _ in range(2))
    weight /= np.float32(np.sqrt(side))
    graph = _Graph({"start": start, "rows": np.array([0], dtype=np.int64)})
    x = graph.node("Mul", ["start", SCALE])
    multiply = _multiplier(graph, precision, weight)
    if precision in HALVES:
        x = graph.node("Cast", [x], number=("to", HALVES[precision]))
    for _ in range(PRODUCTS):
        x = multiply(x)
    if precision in HALVES:
        x = graph.node("Cast", [x], number=("to", FLOAT))
    graph.node("ReduceMean", [x, "rows"], (ANSWER,))
    return graph.model(precision, side)


def _multiplier(graph: _Graph, precision: Precision, weight: Array) -> Callable[[str], str]:
    """Return how to multiply by a weight in a precision, as export.precision writes it."""
    if precision in (Precision.INT8, Precision.INT8_QDQ):
        step = np.array(np.abs(weight).max() / 127, dtype=np.float32)
        graph.constants |= {
            "weight.step": step,
            "step": np.array(0.04, dtype=np.float32),  # normal numbers to five standard deviations
            "zero": np.array(0, dtype=np.int8),
        }
        whole = np.rint(weight / step).astype(np.int8)
        multiply = graph.dynamic_product if precision is Precision.INT8 else graph.quantised_product
        return lambda x: multiply(x, whole)
    halves = {Precision.FP16: weight.astype(np.float16), Precision.BF16: to_bfloat16(weight)}
    graph.constants["weight"] = halves.get(precision, weight)
    return lambda x: graph.node("MatMul", [x, "weight"])


class _Graph:
    """Nodes and constants on their way into an ONNX file."""

    def __init__(self, constants: dict[str, AnyArray]) -> None:
        self.constants = constants
        self._nodes: list[bytes] = []

    def node(
        self, operator: str, inputs: Sequence[str], outputs: Sequence[str] = (), number: tuple[str, int] | None = None
    ) -> str:
        """Add a node and return the name of its first output."""
        named = outputs or (f"{operator}.{len(self._nodes)}",)
        parts = [*(write(1, name) for name in inputs), *(write(2, name) for name in named), write(4, operator)]
        if number is not None:
            parts.append(write(5, write(1, number[0]) + write(3, number[1]) + write(20, 2)))
        self._nodes.append(b"".join(parts))
        return named[0]

    def dynamic_product(self, x: str, weight: AnyArray) -> str:
        """Multiply integers whose range is that of the run; a weight of its own for each product, as networks have."""
        place = len(self._nodes)
        names = [f"{name}.{place}" for name in ("whole", "step", "zero")]
        self.constants[f"weight.{place}"] = weight
        self.node("DynamicQuantizeLinear", [x], names)
        product = self.node("MatMulInteger", [names[0], f"weight.{place}", names[2]])
        steps = self.node("Mul", [names[1], "weight.step"])
        return self.node("Mul", [self.node("Cast", [product], number=("to", FLOAT)), steps])

    def quantised_product(self, x: str, weight: AnyArray) -> str:
        """Multiply integers whose range is known before; a weight of its own for each product, as networks have."""
        own, zeros = (f"{name}.{len(self._nodes)}" for name in ("weight", "weight.zero"))
        self.constants |= {own: weight, zeros: np.array(0, dtype=np.int8)}
        whole = self.node("QuantizeLinear", [x, "step", "zero"])
        rounded = self.node("DequantizeLinear", [whole, "step", "zero"])
        return self.node("MatMul", [rounded, self.node("DequantizeLinear", [own, "weight.step", zeros])])

    def model(self, precision: Precision, side: int) -> bytes:
        """Return the file."""
        parts = [*(write(1, node) for node in self._nodes), write(2, "product")]
        for name, value in self.constants.items():
            sizes = b"".join(write(1, size) for size in value.shape)
            parts.append(write(5, sizes + write(2, TYPES[value.dtype]) + write(8, name) + write(9, value.tobytes())))
        parts += [write(11, _value(SCALE, 1)), write(12, _value(ANSWER, 1, side))]
        said = {} if precision is Precision.FP32 else {graph_facts.PRECISION_KEY: precision.value}
        metadata = [write(14, write(1, key) + write(2, text)) for key, text in said.items()]
        head = [write(1, IR_VERSION), write(7, b"".join(parts)), write(8, write(2, OPSET))]
        return b"".join([*head, *metadata])


def _value(name: str, *sizes: int) -> bytes:
    shape = b"".join(write(1, write(1, size)) for size in sizes)
    return write(1, name) + write(2, write(1, write(1, FLOAT) + write(2, shape)))
