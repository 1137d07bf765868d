"""The contract that every engine keeps, the table of engines, and how one is chosen."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.errors import EngineError, UsageError, did_you_mean

AnyArray = npt.NDArray[Any]

# name -> "module:opener"; an opener takes (graph, provider, threads) and is imported only when chosen.
ENGINES = {"onnxruntime": "adaptertune_deploy.engines.ort:open_ort"}


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a graph.

    shape: an int for a fixed dimension, the symbol's name for a dynamic one.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...]


class Engine(Protocol):
    """A graph that is loaded and ready to run. Not safe for concurrent `bind`; `run` may be called from any thread.

    Attributes:
        inputs: the graph's inputs by name.
        outputs: the graph's outputs by name.
        provider: the execution provider that really runs the graph, "CPUExecutionProvider" for example.
        metadata: the graph's own key-value pairs (ONNX metadata_props).
    """

    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    provider: str
    metadata: Mapping[str, str]

    def bind(self, constants: Mapping[str, AnyArray]) -> None:
        """Keep these inputs on the device for every later run; replaces what was bound under the same names.

        Raises:
            EngineError: an unknown name, or a dtype or shape that the graph does not take.
        """

    def run(self, feeds: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """Run the graph on the feeds and what is bound; returns every output, owned by the caller.

        Raises:
            EngineError: a missing or unknown input, a wrong dtype or shape, or a failure of the device.
        """

    def close(self) -> None:
        """Release the graph's memory; a closed engine can't run."""


def open_engine(graph: Path, engine: str = "onnxruntime", provider: str = "auto", threads: int = 0) -> Engine:
    """Load a graph.

    Args:
        graph: an ONNX file.
        engine: a key of ENGINES.
        provider: "auto" (the best one that works here), "cpu" or "cuda"; a named one is never replaced by another.
        threads: CPU threads for one run; 0 lets the engine choose.

    Raises:
        UsageError: no such engine or provider.
        EngineError: the engine is not installed, refuses the graph, or the provider does not work here.
    """
    if engine not in ENGINES:
        raise UsageError(f"no engine '{engine}', only {', '.join(ENGINES)}.{did_you_mean(engine, ENGINES)}")
    module, _, opener = ENGINES[engine].partition(":")
    opened: Engine = getattr(importlib.import_module(module), opener)(graph, provider, threads)
    return opened


def check_feeds(inputs: Mapping[str, TensorInfo], feeds: Mapping[str, AnyArray], complete: bool = True) -> None:
    """Compare arrays with a graph's inputs.

    Args:
        inputs: the graph's inputs by name.
        feeds: the arrays to check.
        complete: whether every input must be among the feeds.

    Raises:
        EngineError: names the input, what was found and what was expected.
    """
    for name, array in feeds.items():
        if name not in inputs:
            raise EngineError(f"the graph has no input '{name}', only {', '.join(inputs)}.{did_you_mean(name, inputs)}")
        info = inputs[name]
        if array.dtype != info.dtype:
            raise EngineError(f"input '{name}' has dtype {array.dtype}, expected {info.dtype}")
        fits = array.ndim == len(info.shape) and all(
            isinstance(expected, str) or found == expected
            for found, expected in zip(array.shape, info.shape, strict=True)
        )
        if not fits:
            raise EngineError(f"input '{name}' has shape {list(array.shape)}, expected {list(info.shape)}")
    missing = [name for name in inputs if name not in feeds]
    if complete and missing:
        raise EngineError(f"input '{missing[0]}' was not given ({len(missing)} missing in all)")
