"""From an ONNX file to a plan: parse, check what was parsed, name shapes and limits, build."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.engine import TensorInfo
from adaptertune_deploy.engines.onnx import signature as onnx_signature
from adaptertune_deploy.engines.tensorrt.library import last_words, message_log
from adaptertune_deploy.engines.tensorrt.request import BuildRequest
from adaptertune_deploy.engines.tensorrt.shapes import profiles

MEGABYTE = 1 << 20


def build(trt: Any, graph: bytes, request: BuildRequest, timing: bytes, where: str) -> tuple[bytes, bytes]:
    """Return a plan and the timing cache after its build, b"" for a library that has none.

    The network is strongly typed: it computes in the types of the graph and in no other, and float32 means float32,
    not TF32.

    Args:
        trt: the library's module.
        graph: the bytes of an ONNX file.
        request: for what and how.
        timing: a timing cache of this machine, or b"".
        where: the graph's file, for messages.

    Raises:
        EngineError: TensorRT can't read the graph, reads something else than it says, or can't build it.
    """
    log = message_log(trt)
    builder = trt.Builder(log)
    # Ignored from TensorRT 11 on, where every network is strongly typed.
    typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = builder.create_network(typed)
    parser = trt.OnnxParser(network, log)
    if not parser.parse(graph):
        raise EngineError(f"{where}: {trt.__name__} {trt.__version__} can't read it: {_complaints(parser)}")
    inputs = onnx_signature.read(graph, where).inputs
    _check_inputs(trt, network, inputs, where)
    config = _configure(trt, builder, request)
    for shapes in profiles(inputs, request.capacity):
        profile = builder.create_optimization_profile()
        for name, (least, usual, largest) in shapes.items():
            profile.set_shape(name, least, usual, largest)
        if config.add_optimization_profile(profile) < 0:
            raise EngineError(f"{where}: {trt.__name__} refuses the shapes of a profile: {last_words(trt)}")
    # TensorRT-RTX times nothing here: it chooses kernels when it loads a plan.
    cache = None if hasattr(trt, "ComputeCapability") else config.create_timing_cache(timing)
    if cache is not None:
        config.set_timing_cache(cache, False)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"{where}: {trt.__name__} {trt.__version__} can't build a plan: {_advice(last_words(trt))}")
    return bytes(plan), b"" if cache is None else bytes(cache.serialize())


def _complaints(parser: Any) -> str:
    """Return the first of a parser's complaints on one line, each with the operator and node that it is about."""
    told = []
    for index in range(min(parser.num_errors, 3)):
        error = parser.get_error(index)
        told.append(f"{error.node_operator()} {error.node_name()!r}: {error.desc()}")
    more = f"; {parser.num_errors} in all" if parser.num_errors > len(told) else ""
    return " ".join("; ".join(told).split())[:300] + more


def _configure(trt: Any, builder: Any, request: BuildRequest) -> Any:
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    config.max_aux_streams = 0  # one stream, so that a run is one CUDA graph
    config.builder_optimization_level = request.level
    for pool, limit in (
        (trt.MemoryPoolType.WORKSPACE, request.workspace),
        (trt.MemoryPoolType.TACTIC_DRAM, request.tactic_memory),
    ):
        if limit:
            config.set_memory_pool_limit(pool, limit)
    if hasattr(trt, "ComputeCapability"):  # TensorRT-RTX compiles for what it is told to
        target = getattr(trt.ComputeCapability, f"SM{request.sm.replace('.', '')}", None)
        if target is None:
            raise EngineError(
                f"{trt.__name__} {trt.__version__} does not build for SM {request.sm}; take --engine tensorrt"
            )
        config.num_compute_capabilities = 1
        config.set_compute_capability(target, 0)
    return config


def _check_inputs(trt: Any, network: Any, expected: Mapping[str, TensorInfo], where: str) -> None:
    """Refuse a network that takes something else than the graph says: TensorRT drops inputs that it thinks optional."""
    found = {}
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        found[tensor.name] = (numpy_type(trt, tensor.dtype), tuple(tensor.shape))
    wanted = {
        name: (info.dtype, tuple(size if isinstance(size, int) else -1 for size in info.shape))
        for name, info in expected.items()
    }
    for name in {**wanted, **found}:
        if found.get(name) != wanted.get(name):
            raise EngineError(
                f"{where}: {trt.__name__} reads input '{name}' as {_words(found.get(name))}, "
                f"the graph says {_words(wanted.get(name))}; run atd export again"
            )


def numpy_type(trt: Any, dtype: Any) -> np.dtype[Any]:
    """Return the numpy type of a tensor.

    Raises:
        EngineError: numpy has none.
    """
    kinds = {
        trt.DataType.FLOAT: np.float32,
        trt.DataType.HALF: np.float16,
        trt.DataType.INT8: np.int8,
        trt.DataType.INT32: np.int32,
        trt.DataType.INT64: np.int64,
        trt.DataType.BOOL: np.bool_,
        trt.DataType.UINT8: np.uint8,
    }
    if dtype not in kinds:
        raise EngineError(f"numpy has no type for {dtype}")
    return np.dtype(kinds[dtype])


def _words(tensor: tuple[np.dtype[Any], tuple[int, ...]] | None) -> str:
    return "absent" if tensor is None else f"{tensor[0]} {list(tensor[1])}"


def _advice(message: str) -> str:
    if "memory" in message.lower():
        return (
            f"{message}; give the build less: -E workspace_mb=256 -E tactic_memory_mb=512 -E level=1, "
            "stop other programs, or add swap"
        )
    return message
