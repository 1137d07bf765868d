"""OpenVINO: a compiled model on the CPU, in float32, in bfloat16 or as the graph is quantised.

Left to itself it computes float32 graphs in bfloat16 where the CPU has that, and it takes "f16" for bfloat16 without a
word. So a precision is always named, and what the products really run in is read back from the compiled model. It
answers a row that names no task with zeros, and one that names no image with another image's features:
core.adapter.bank.check_rows stands before every run.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Collection, Mapping
from typing import Any

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines import heap
from adaptertune_deploy.engines.bank.packed import PACKED, PackedBank
from adaptertune_deploy.engines.bfloat16 import to_bfloat16
from adaptertune_deploy.engines.engine import AnyArray, Slab, TensorInfo
from adaptertune_deploy.engines.feeds import check_feeds
from adaptertune_deploy.engines.limits import Limits
from adaptertune_deploy.engines.onnx import signature as onnx_signature
from adaptertune_deploy.engines.onnx.signature import Signature
from adaptertune_deploy.engines.openvino import model as openvino_model
from adaptertune_deploy.engines.openvino import precision as openvino_precision
from adaptertune_deploy.engines.openvino.compiling import CPU, compile_model
from adaptertune_deploy.engines.openvino.library import FAILURES, ov
from adaptertune_deploy.engines.openvino.precision import HINTS, QUANTISED, floats
from adaptertune_deploy.engines.openvino.settings import OpenVinoSettings
from adaptertune_deploy.engines.openvino.slab import OpenVinoSlab
from adaptertune_deploy.engines.openvino.tensor import tensor_of
from adaptertune_deploy.engines.options import EngineOptions

# What OpenVINO's messages say about its own source and about nothing else: whole lines, and parts of lines.
IDLE = re.compile(r"Exception from .*|FrontEnd API .*|Model wasn't fully .*|-- .*|Summary:|\s*")
SOURCE = re.compile(r"Check '.*' failed at \S+|^\[ ?[A-Z ]+ ?\] ")


class OpenVinoEngine:
    """A compiled model that keeps engines.engine.Engine.

    Slabs lie in host memory, and a run refers to them there. Every concurrent run has an infer request of its own; one
    that waits for the next run holds on to what the last one was given.

    Args:
        compiled: the model.
        signature: what its graph takes, gives and says.
        layout: of the packed bank that the model takes; None where the graph has no bank.
        precision: what it computes in.

    Raises:
        EngineError: an input or output of the graph that the model does not have.
    """

    name = "openvino"
    version: str = ov.get_version().split("-")[0]
    provider = CPU
    device = "cpu"
    limits = Limits()

    def __init__(self, compiled: Any, signature: Signature, layout: PackedBank | None, precision: Precision) -> None:
        self.inputs: Mapping[str, TensorInfo] = signature.inputs
        self.outputs: Mapping[str, TensorInfo] = signature.outputs
        self.metadata: Mapping[str, str] = signature.metadata
        self.precision = precision
        self._compiled: Any = compiled
        self._layout = layout
        self._fed = tuple(self.inputs) if layout is None else (bank.IMAGES, bank.IMAGE, bank.TASK)
        packed = () if layout is None else PACKED
        self._inputs = _places((*self._fed, *packed), compiled.inputs)
        self._outputs = _places(self.outputs, compiled.outputs)
        self._half = any(compiled.inputs[self._inputs[name]].element_type == ov.Type.bf16 for name in packed)
        self._idle: list[_Request] = []
        self._lock = threading.Lock()

    def allocate(self, shapes: Mapping[str, tuple[int, ...]], capacity: int) -> OpenVinoSlab:
        """See Engine.allocate; the capacity is rounded up to a power of two, since spare slots cost no memory here."""
        self._open_model()
        if self._layout is None:
            raise EngineError("this graph has no bank")
        return OpenVinoSlab(self._layout, self._layout.rank(shapes), 1 << (capacity - 1).bit_length(), self._half)

    def run(
        self, feeds: Mapping[str, AnyArray], resident: Slab | None = None, slot: int | None = None
    ) -> dict[str, AnyArray]:
        """See Engine.run; a bank is resident or fed, never a mixture of both."""
        compiled = self._open_model()
        if not isinstance(resident, OpenVinoSlab | None) or (resident and resident.layout is not self._layout):
            raise EngineError("these resident tensors are of another engine")
        check_feeds(self.inputs, feeds, self.inputs.keys() - self._fed if resident else ())
        try:
            values = {**self._bank(feeds, resident, slot), **{name: tensor_of(feeds[name]) for name in self._fed}}
            with self._lock:
                request = self._idle.pop() if self._idle else _Request(compiled)
            found = request.run({self._inputs[name]: value for name, value in values.items()})
            result = {name: found[place] for name, place in self._outputs.items()}
        except FAILURES as error:
            raise EngineError(f"OpenVINO could not run the graph: {_sentence(error)}") from None
        with self._lock:
            if self._compiled is not None:  # else it was closed meanwhile, and nothing may hold on to the model
                self._idle.append(request)
        return result

    def close(self) -> None:
        """See Engine.close."""
        with self._lock:
            self._compiled, self._idle = None, []
        heap.give_back()

    def _bank(self, feeds: Mapping[str, AnyArray], resident: OpenVinoSlab | None, slot: int | None) -> dict[str, Any]:
        """Return the packed bank's tensors; none for a graph without a bank."""
        fed = {name: array for name, array in feeds.items() if name not in self._fed}
        if resident:
            if fed:
                raise EngineError(f"with a resident bank a run takes {', '.join(self._fed)}, not '{next(iter(fed))}'")
            return dict(resident.values(slot))
        if self._layout is None:
            return {}
        packed = self._layout.stack(fed)
        return {name: tensor_of(to_bfloat16(array) if self._half else array) for name, array in packed.items()}

    def _open_model(self) -> Any:
        compiled = self._compiled
        if compiled is None:
            raise EngineError("this engine is closed; open the graph again")
        return compiled


class _Request:
    """An infer request, for one run at a time."""

    def __init__(self, compiled: Any) -> None:
        self._request = compiled.create_infer_request()
        self._outputs = range(len(compiled.outputs))
        self._given: dict[int, Any] = {}

    def run(self, tensors: Mapping[int, Any]) -> list[AnyArray]:
        """Return the outputs of a run on tensors by the input's place; what stayed the same is not set again."""
        for place, tensor in tensors.items():
            if self._given.get(place) is not tensor:
                self._request.set_input_tensor(place, tensor)
                self._given[place] = tensor
        self._request.infer()
        return [self._request.get_output_tensor(place).data.copy() for place in self._outputs]


def open_graph(graph: bytes, where: str, options: EngineOptions, settings: OpenVinoSettings) -> OpenVinoEngine:
    """Load a graph into OpenVINO.

    Args:
        graph: the bytes of an ONNX file that engines.onnx.plain_graph accepts.
        where: the file they come from, for messages.
        options: of 0 threads every physical core; the device is the CPU.
        settings: OpenVINO's own.

    Raises:
        UsageError: settings that contradict the precision.
        EngineError: not a graph that OpenVINO runs.
        FormatError: the graph is in a precision that this release does not know.
    """
    signature = onnx_signature.read(graph, where)
    said = graph_facts.precision_of(signature.metadata, where)
    try:
        core, layout = ov.Core(), openvino_model.bank_of(signature, where)
        bfloat16 = floats(options, settings) is Precision.BF16
        model = openvino_model.read_model(core, graph, layout, bfloat16, where, said in QUANTISED)
        compiled = compile_model(core, model, _config(options, settings))
        precision, rest = openvino_precision.computed(compiled, said), openvino_precision.kept(compiled)
        if precision in QUANTISED and rest != HINTS[Precision(settings.rest)]:
            raise EngineError(f"{where}: OpenVINO computes the rest in {rest}, {settings.rest} was asked for")
        return OpenVinoEngine(compiled, signature, layout, precision)
    except FAILURES as error:
        raise EngineError(f"{where}: OpenVINO refuses this graph: {_sentence(error)}") from None


def check_installed(options: EngineOptions, settings: OpenVinoSettings) -> None:
    """Raise UsageError as open_graph does; every installation runs on the CPU."""
    floats(options, settings)


def multiplies(precision: Precision) -> bool:
    """Return whether this CPU has products of a floating-point precision, as OpenVINO says."""
    return precision.upper() in ov.Core().get_property(CPU, "OPTIMIZATION_CAPABILITIES")


def _config(options: EngineOptions, settings: OpenVinoSettings) -> dict[str, str | int]:
    config: dict[str, str | int] = {
        "INFERENCE_PRECISION_HINT": HINTS[floats(options, settings)],
        "PERFORMANCE_HINT": settings.hint.upper(),
    }
    if options.threads:
        config["INFERENCE_NUM_THREADS"] = options.threads
    if settings.streams:
        config["NUM_STREAMS"] = settings.streams
    return config


def _places(names: Collection[str], ports: Any) -> dict[str, int]:
    """Return where a model has these inputs or outputs."""
    held = {name: place for place, port in enumerate(ports) for name in port.get_names()}
    lacking = [name for name in names if name not in held]
    if lacking:
        raise EngineError(f"OpenVINO made a model without '{lacking[0]}' of this graph; run atd export again")
    return {name: held[name] for name in names}


def _sentence(error: Exception) -> str:
    """Return what an OpenVINO message says in one line, without the places in its source."""
    lines = [SOURCE.sub("", line).strip() for line in str(error).splitlines() if not IDLE.fullmatch(line)]
    first, *more = [line for line in lines if line] or [type(error).__name__]
    return (f"{first} {more[-1]}" if more and first.endswith(":") else first)[:300]
