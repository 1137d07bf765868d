"""The contract that every engine keeps, the table of engines, and how one is chosen."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from adaptertune_deploy.core.errors import EngineError, UsageError, did_you_mean
from adaptertune_deploy.engines.plain_graph import check_plain

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

AnyArray: TypeAlias = "npt.NDArray[Any]"


@dataclass(frozen=True)
class EngineEntry:
    """One line of the table of engines.

    label: what messages call it.
    module: imported only when the engine is chosen; it has `open_graph(graph, where, provider, threads)` and
        `check_installed(provider)`, which refuses a provider that this installation lacks.
    library: what the module imports.
    providers: what a user may ask for.
    everywhere: those of them that every installation of the library has.
    """

    label: str
    module: str
    library: str
    providers: tuple[str, ...] = ("auto", "cpu")
    everywhere: tuple[str, ...] = ("auto", "cpu")


ENGINES = {
    "onnxruntime": EngineEntry(
        "ONNX Runtime", "adaptertune_deploy.engines.ort", "onnxruntime", providers=("auto", "cpu", "cuda")
    )
}
USUAL = "onnxruntime"
NAMES_SHOWN = 8


@dataclass(frozen=True)
class TensorInfo:
    """One input or output of a graph.

    shape: an int for a fixed dimension, the symbol's name for a dynamic one.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | str, ...]


class Slab(Protocol):
    """Tensors of several tasks along a leading slot axis, kept where an engine reads them; zeros until written.

    Their addresses never change. One thread writes at a time, and no slot that a run reads: who writes sees to that.

    Attributes:
        capacity: slots.
    """

    capacity: int

    def write(self, slot: int, tensors: Mapping[str, AnyArray]) -> None:
        """Set one slot's tensors in place; those that are not named become zeros.

        Args:
            slot: below `capacity`.
            tensors: name -> array without the slot axis; converted to the graph's dtype.

        Raises:
            EngineError: no such slot or tensor, or another shape; then the slot is as it was.
        """

    def read(self, slot: int) -> Mapping[str, AnyArray]:
        """Return one slot's tensors, in host memory and not to be written to."""


class Engine(Protocol):
    """A graph that is loaded and ready to run; `run` may be called from any thread.

    Attributes:
        name: its key in ENGINES.
        version: its library's version.
        inputs: the graph's inputs by name.
        outputs: the graph's outputs by name.
        provider: the execution provider that really runs the graph, "CPUExecutionProvider" for example.
        metadata: the graph's own key-value pairs (ONNX metadata_props).
    """

    name: str
    version: str
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    provider: str
    metadata: Mapping[str, str]

    def allocate(self, shapes: Mapping[str, tuple[int, ...]], capacity: int) -> Slab:
        """Return room for inputs that stay on the device; it lives as long as somebody holds it.

        Args:
            shapes: input -> shape of one slot's tensor, the input's own without its first axis.
            capacity: slots at least; an engine rounds up as suits it.

        Raises:
            EngineError: an unknown input, a shape that it does not take, or no memory.
        """

    def run(
        self, feeds: Mapping[str, AnyArray], resident: Slab | None = None, slot: int | None = None
    ) -> dict[str, AnyArray]:
        """Run the graph; returns every output, owned by the caller.

        Args:
            feeds: inputs by name, copied to the device.
            resident: further inputs, of this engine's `allocate`; nothing of it is copied.
            slot: hand over this slot of `resident` alone, as a first axis of 1; None for all slots.

        Raises:
            EngineError: a missing or unknown input, a wrong dtype or shape, or a failure of the device.
        """

    def close(self) -> None:
        """Release the graph's memory; a closed engine can't run."""


def open_engine(
    graph: bytes, where: str, engine: str = "onnxruntime", provider: str = "auto", threads: int = 0
) -> Engine:
    """Load a graph. No engine ever opens a file: what was read, and hashed, is what runs.

    Args:
        graph: the bytes of an ONNX file.
        where: the file they come from, for messages.
        engine: a key of ENGINES.
        provider: "auto" (the best one that works here), "cpu" or "cuda"; a named one is never replaced by another.
        threads: CPU threads for one run; 0 lets the engine choose.

    Raises:
        UsageError: no such engine or provider.
        EngineError: not a plain graph (plain_graph.check_plain), the engine is not installed or refuses the graph, or
            the provider does not work here.
    """
    entry = _entry(engine, provider)
    if threads < 0:
        raise UsageError(f"--threads {threads}: expected 0 (all cores) or more")
    check_plain(graph, where)
    opened: Engine = importlib.import_module(entry.module).open_graph(graph, where, provider, threads)
    return opened


def check_provider(engine: str, provider: str) -> None:
    """Refuse what open_engine would refuse whatever the graph; imports the engine's library only where it must.

    Raises:
        UsageError: no such engine or provider.
        EngineError: the engine is not installed, or this installation of it lacks the provider.
    """
    entry = _entry(engine, provider)
    if provider in entry.everywhere and importlib.util.find_spec(entry.library) is not None:
        return
    importlib.import_module(entry.module).check_installed(provider)


def _entry(engine: str, provider: str) -> EngineEntry:
    if engine not in ENGINES:
        raise UsageError(f"no engine '{engine}', only {', '.join(ENGINES)}.{did_you_mean(engine, ENGINES)}")
    entry = ENGINES[engine]
    if provider not in entry.providers:
        raise UsageError(
            f"{entry.label} has no provider '{provider}' here, only {', '.join(entry.providers)}."
            f"{did_you_mean(provider, entry.providers)}"
        )
    return entry


def check_feeds(
    inputs: Mapping[str, TensorInfo], feeds: Mapping[str, AnyArray], resident: Collection[str] = ()
) -> None:
    """Compare arrays with a graph's inputs.

    Args:
        inputs: the graph's inputs by name.
        feeds: the arrays to check.
        resident: inputs that are on the device already.

    Raises:
        EngineError: names the input, what was found and what was expected.
    """
    check_shapes(inputs, {name: array.shape for name, array in feeds.items()})
    for name, array in feeds.items():
        if array.dtype != inputs[name].dtype:
            raise EngineError(f"input '{name}' has dtype {array.dtype}, expected {inputs[name].dtype}")
    missing = [name for name in inputs if name not in feeds and name not in resident]
    if missing:
        raise EngineError(f"input '{missing[0]}' was not given ({len(missing)} missing in all)")


def check_shapes(inputs: Mapping[str, TensorInfo], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Compare shapes with those of a graph's inputs of these names.

    Raises:
        EngineError: names the input, what was found and what was expected.
    """
    for name, shape in shapes.items():
        if name not in inputs:
            held = [*list(inputs)[:NAMES_SHOWN], *(["..."] if len(inputs) > NAMES_SHOWN else [])]
            raise EngineError(f"the graph has no input '{name}', only {', '.join(held)}.{did_you_mean(name, inputs)}")
        declared = inputs[name].shape
        fits = len(shape) == len(declared) and all(
            isinstance(expected, str) or found == expected for found, expected in zip(shape, declared, strict=True)
        )
        if not fits:
            raise EngineError(f"input '{name}' has shape {list(shape)}, expected {list(declared)}")
