"""Run a small graph on one engine, and compare its answers with arithmetic done here.

    python -m adaptertune_deploy.doctor.probes.engine ENGINE DEVICE PRECISION [NAME=VALUE...]

The graph is one side of an adapter, as the shared graph has it: each row takes its task's matrix out of a bank, is
multiplied by it and goes through a GELU. Its bytes are made here, so that no file and no onnx package is needed.
"""

from __future__ import annotations

import importlib.util
import json
import math
import struct
import sys
from collections.abc import Sequence

from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.engine import ENGINES
from adaptertune_deploy.engines.wire_format import write

FLOAT, INT64 = 1, 7  # TensorProto.DataType
WIDTH, TASKS = 8, 3


def adapter_graph() -> bytes:
    """Return an ONNX file: rows [B, 8], bank [T, 8, 8], task int64 [B] -> answer [B, 8] = gelu(rows @ bank[task])."""
    nodes = [
        _node("Gather", ["bank", "task"], "matrix"),
        _node("Unsqueeze", ["rows", "axis"], "row"),
        _node("MatMul", ["row", "matrix"], "product"),
        _node("Squeeze", ["product", "axis"], "hidden"),
        _node("Gelu", ["hidden"], "answer"),
    ]
    axis = write(1, 1) + write(2, INT64) + write(8, "axis") + write(9, struct.pack("<q", 1))
    inputs = [
        _value("rows", FLOAT, ("B", WIDTH)),
        _value("bank", FLOAT, ("T", WIDTH, WIDTH)),
        _value("task", INT64, ("B",)),
    ]
    parts = [write(1, node) for node in nodes] + [write(2, "trial"), write(5, axis)]
    parts += [write(11, entry) for entry in inputs] + [write(12, _value("answer", FLOAT, ("B", WIDTH)))]
    return write(1, 10) + write(8, write(2, 20)) + write(7, b"".join(parts))


def try_engine(engine: str, device: str, precision: str, *settings: str) -> dict[str, object]:
    """Return what ran the graph, and how far its answers lie from those that are expected.

    Raises:
        AtdError: the engine refuses the graph or fails.
    """
    import numpy as np

    from adaptertune_deploy.engines.engine import open_engine
    from adaptertune_deploy.engines.options import EngineOptions, split_settings

    draw = np.random.default_rng(0)
    rows = draw.normal(size=(4, WIDTH)).astype(np.float32)
    bank = draw.normal(size=(TASKS, WIDTH, WIDTH)).astype(np.float32)
    task = np.array([2, 0, 1, 2], dtype=np.int64)
    options = EngineOptions(engine, device, Precision(precision), settings=split_settings(settings))
    opened = open_engine(adapter_graph(), "a small graph", options)
    answer = opened.run({"rows": rows, "bank": bank, "task": task})["answer"]
    hidden = np.einsum("bi,bio->bo", rows.astype(np.float64), bank.astype(np.float64)[task])
    expected = hidden / 2 * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
    facts = {
        "version": opened.version,
        "provider": opened.provider,
        "device": opened.device,
        "error": float(np.abs(answer - expected).max()),
    }
    opened.close()
    return facts


def main(arguments: Sequence[str]) -> None:
    """Print what came of it: facts, {"refused": why}, or {"absent": library}."""
    engine, *_ = arguments
    library = ENGINES[engine].library
    if importlib.util.find_spec(library) is None:
        print(json.dumps({"absent": library}))
        return
    try:
        print(json.dumps(try_engine(*arguments)))
    except AtdError as error:
        print(json.dumps({"refused": str(error)}))


def _node(operator: str, inputs: list[str], output: str) -> bytes:
    return b"".join(write(1, name) for name in inputs) + write(2, output) + write(4, operator)


def _value(name: str, kind: int, shape: tuple[int | str, ...]) -> bytes:
    sizes = b"".join(write(1, write(1 if isinstance(size, int) else 2, size)) for size in shape)
    return write(1, name) + write(2, write(1, write(1, kind) + write(2, sizes)))


if __name__ == "__main__":
    main(sys.argv[1:])
