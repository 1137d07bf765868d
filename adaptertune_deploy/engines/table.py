"""The table of engines: what each runs, where, and in which precisions; no engine's library is imported to read it."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass, replace
from typing import Any

from adaptertune_deploy.core.errors import UsageError, did_you_mean
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.onnxruntime.settings import OrtSettings
from adaptertune_deploy.engines.openvino.settings import OpenVinoSettings
from adaptertune_deploy.engines.options import EngineOptions, gpu_index
from adaptertune_deploy.engines.tensorrt.settings import TensorrtSettings


@dataclass(frozen=True)
class EngineEntry:
    """One line of the table of engines.

    label: what messages call it.
    module: imported only when the engine is chosen; it has `open_graph(graph, where, options, settings)`, which gives
        an Engine, and `check_installed(options, settings)`, which refuses what this installation lacks; both take
        settings of the class `settings`.
    library: what the module imports.
    settings: the class of its own settings; see engines.options.settings_of.
    devices: what a user may ask for; "cuda" stands for "cuda:N" too.
    everywhere: those of them that every installation of the library has.
    derives: precisions that it makes itself, on the machine that runs, out of an fp32 graph.
    lacks: precisions of graphs that it runs on no CPU.
    asks: precisions of graphs that it runs on some CPUs; its module's `multiplies(precision)` tells for this one.
    at_once: its own setting that says how many runs there may be at a time; "" where there may be any number.
    threads_of_all: whether EngineOptions.threads are those of all runs at a time.
    """

    label: str
    module: str
    library: str
    settings: type
    devices: tuple[str, ...] = ("auto", "cpu")
    everywhere: tuple[str, ...] = ("auto", "cpu")
    derives: frozenset[Precision] = frozenset()
    lacks: frozenset[Precision] = frozenset()
    asks: frozenset[Precision] = frozenset()
    at_once: str = ""
    threads_of_all: bool = False


TENSORRT = "adaptertune_deploy.engines.tensorrt.engine"
ENGINES = {
    "onnxruntime": EngineEntry(
        "ONNX Runtime",
        "adaptertune_deploy.engines.onnxruntime.engine",
        "onnxruntime",
        OrtSettings,
        devices=("auto", "cpu", "cuda"),
        lacks=frozenset((Precision.BF16,)),
    ),
    "openvino": EngineEntry(
        "OpenVINO",
        "adaptertune_deploy.engines.openvino.engine",
        "openvino",
        OpenVinoSettings,
        derives=frozenset({Precision.BF16}),
        lacks=frozenset({Precision.INT8}),
        asks=frozenset({Precision.FP16}),
        at_once="streams",
        threads_of_all=True,
    ),
    "tensorrt": EngineEntry(
        "TensorRT", TENSORRT, "tensorrt", TensorrtSettings, ("auto", "cuda"), everywhere=(), at_once="contexts"
    ),
    "tensorrt-rtx": EngineEntry(
        "TensorRT-RTX", TENSORRT, "tensorrt_rtx", TensorrtSettings, ("auto", "cuda"), everywhere=(), at_once="contexts"
    ),
}


def is_installed(engine: str) -> bool:
    """Return whether an engine's library is there; it is not imported."""
    return importlib.util.find_spec(entry_of(engine).library) is not None


def entry_of(engine: str) -> EngineEntry:
    """Return an engine's line of the table.

    Raises:
        UsageError: there is none.
    """
    if engine not in ENGINES:
        raise UsageError(f"no engine '{engine}', only {', '.join(ENGINES)}.{did_you_mean(engine, ENGINES)}")
    return ENGINES[engine]


def graph_precision(options: EngineOptions) -> Precision:
    """Return the precision of the graph that an engine has to be given."""
    return Precision.FP32 if options.precision in entry_of(options.engine).derives else options.precision


def fitting(options: EngineOptions, graph: Precision) -> EngineOptions:
    """Return the options for a graph of this precision, whatever precision was asked for.

    It is computed in the precision asked for where the engine makes that out of such a graph, else in its own.
    """
    return options if graph in graph_precisions(options) else replace(options, precision=graph)


def graph_precisions(options: EngineOptions) -> frozenset[Precision]:
    """Return the precisions of the graphs that are computed in the one asked for: its own, or made out of fp32."""
    return frozenset({options.precision, graph_precision(options)})


def lacks(options: EngineOptions, graph: Precision) -> str | None:
    """Return why an engine does not run graphs of a precision where it is asked to, or None where it may.

    Where that depends on the CPU, the engine is asked, which imports its library.
    """
    entry = entry_of(options.engine)
    if gpu_index(options.device) is not None:
        return None
    if graph in entry.lacks:
        return f"{entry.label} runs no {graph} graphs on a CPU"
    if graph in entry.asks and is_installed(options.engine) and not _module(entry).multiplies(graph):
        return f"{entry.label} runs no {graph} graphs on this CPU, which has no such products"
    return None


def _module(entry: EngineEntry) -> Any:
    return importlib.import_module(entry.module)
