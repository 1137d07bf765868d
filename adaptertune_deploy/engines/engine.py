"""The contract that every engine keeps, the table of engines, and how one is opened."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.errors import EngineError, UsageError, did_you_mean
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.limits import Limits
from adaptertune_deploy.engines.onnx.plain_graph import check_plain
from adaptertune_deploy.engines.onnxruntime.settings import OrtSettings
from adaptertune_deploy.engines.openvino.settings import OpenVinoSettings
from adaptertune_deploy.engines.options import USUAL, EngineOptions, gpu_index, parse_settings
from adaptertune_deploy.engines.tensorrt.settings import TensorrtSettings

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

AnyArray: TypeAlias = "npt.NDArray[Any]"


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
    lacks: precisions of graphs that it does not run on a CPU.
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
        lacks=frozenset({Precision.FP16, Precision.INT8}),
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
            EngineError: no such slot or tensor, another shape, or a value that the graph's dtype can't hold; then the
                slot is as it was.
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
        provider: what the library itself calls that which runs the graph, "CPUExecutionProvider" for example.
        device: where it runs, read back from the library: "cpu" or "cuda:N".
        precision: what its matrix products are computed in, read back from the library or the graph's metadata.
        limits: what it takes at once.
        metadata: the graph's own key-value pairs (ONNX metadata_props).
    """

    name: str
    version: str
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    provider: str
    device: str
    precision: Precision
    limits: Limits
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


def open_engine(graph: bytes, where: str, options: EngineOptions = USUAL) -> Engine:
    """Load a graph. No engine ever opens a file: what was read, and hashed, is what runs.

    Args:
        graph: the bytes of an ONNX file.
        where: the file they come from, for messages.
        options: what is asked for; see check_options.

    Raises:
        UsageError: see check_options.
        EngineError: not a plain graph (plain_graph.check_plain), the engine is not installed or refuses the graph, the
            device does not work here, or what was opened runs elsewhere or in another precision than was asked for.
    """
    entry, settings = _asked(options)
    check_plain(graph, where)
    try:
        opened: Engine = importlib.import_module(entry.module).open_graph(graph, where, options, settings)
    except EngineError:
        reason = lacks(options, options.precision)
        if reason is None:
            raise
        raise EngineError(f"{where}: {reason}; choose another --engine or --precision") from None
    try:
        _compare(opened, where, options, entry)
    except BaseException:
        opened.close()
        raise
    return opened


def check_options(options: EngineOptions) -> None:
    """Refuse what open_engine would refuse whatever the graph; imports the engine's library only where it must.

    Raises:
        UsageError: no such engine, device or setting, or another value than a setting takes.
        EngineError: the engine is not installed, or this installation of it lacks what was asked for.
    """
    entry, settings = _asked(options)
    if options.device in entry.everywhere and not options.settings and is_installed(options.engine):
        return
    importlib.import_module(entry.module).check_installed(options, settings)


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
    return options if graph in _graph_precisions(options) else replace(options, precision=graph)


def _graph_precisions(options: EngineOptions) -> frozenset[Precision]:
    """Return the precisions of the graphs that are computed in the one asked for: its own, or made out of fp32."""
    return frozenset({options.precision, graph_precision(options)})


def lacks(options: EngineOptions, graph: Precision) -> str | None:
    """Return why an engine does not run graphs of a precision where it is asked to, or None where it may."""
    entry = entry_of(options.engine)
    if gpu_index(options.device) is not None or graph not in entry.lacks:
        return None
    return f"{entry.label} runs no {graph} graphs on a CPU"


def _asked(options: EngineOptions) -> tuple[EngineEntry, Any]:
    """Return the engine's line of the table and its settings."""
    entry = entry_of(options.engine)
    device = "cuda" if gpu_index(options.device) is not None else options.device
    if device not in entry.devices:
        known = [*entry.devices, *(["cuda:N"] if "cuda" in entry.devices else [])]
        raise UsageError(
            f"{entry.label} has no device '{options.device:.60}', only {', '.join(known)}.{did_you_mean(device, known)}"
        )
    return entry, parse_settings(entry.settings, options.settings, options.engine)


def _compare(opened: Engine, where: str, options: EngineOptions, entry: EngineEntry) -> None:
    """Compare what was opened with what was asked for; libraries fall back without a word."""
    graph = graph_facts.precision_of(opened.metadata, where)
    if graph not in _graph_precisions(options):
        wanted = graph_precision(options)
        raise EngineError(f"{where}: the graph is in {graph}, {wanted} was asked for; run atd export again")
    if opened.precision is not options.precision:
        raise EngineError(
            f"{where}: {entry.label} computes in {opened.precision}, {options.precision} was asked for; this machine "
            f"can't, choose --precision {opened.precision}"
        )
    index = gpu_index(options.device)
    device = options.device if index is None else f"cuda:{index}"
    if device not in ("auto", opened.device):
        raise EngineError(f"{where}: {entry.label} runs on {opened.device}, {device} was asked for")
