"""OpenVINO: a compiled model on the CPU, in float32, in bfloat16 or as the graph is quantised.

Left to itself it computes float32 graphs in bfloat16 where the CPU has that, and it takes "f16" for bfloat16 without a
word. So a precision is always named, and what the products really run in is read back from the compiled model. It
answers a row that names no task with zeros, and one that names no image with another image's features:
core.bank.check_rows stands before every run.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from adaptertune_deploy.core import bank, graph_facts
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.bfloat16 import to_bfloat16, to_float32
from adaptertune_deploy.engines.engine import AnyArray, Slab, TensorInfo
from adaptertune_deploy.engines.feeds import check_feeds, check_shapes
from adaptertune_deploy.engines.limits import Limits
from adaptertune_deploy.engines.onnx import signature as onnx_signature
from adaptertune_deploy.engines.onnx.signature import Signature
from adaptertune_deploy.engines.openvino import precision as openvino_precision
from adaptertune_deploy.engines.openvino.precision import HINTS, QUANTISED, floats
from adaptertune_deploy.engines.openvino.settings import OpenVinoSettings
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.wrapped_slab import WrappedSlab

# OpenVINO reports every import to its maker and keeps an identifier in the home folder, unless this package is absent.
_TELEMETRY = "openvino_telemetry"
_hidden = _TELEMETRY not in sys.modules
if _hidden:
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
try:
    import openvino as ov
    from openvino.preprocess import PrePostProcessor
except ImportError as error:
    raise EngineError(
        f"OpenVINO can't be imported ({error}); install it with: pip install 'adaptertune-deploy[openvino]'"
    ) from None
finally:
    if _hidden:
        del sys.modules[_TELEMETRY]

CPU = "CPU"
FAILURES: tuple[type[Exception], ...] = (RuntimeError, ValueError, TypeError)
# What OpenVINO's messages say about its own source and about nothing else: whole lines, and parts of lines.
IDLE = re.compile(r"Exception from .*|FrontEnd API .*|Model wasn't fully .*|-- .*|Summary:|\s*")
SOURCE = re.compile(r"Check '.*' failed at \S+|^\[ ?[A-Z ]+ ?\] ")
HALF = np.dtype(np.uint16)  # how bfloat16 is kept


class OpenVinoSlab(WrappedSlab):
    """A slab of OpenVINO tensors, which share the arrays' memory; float32, or bfloat16 kept as uint16.

    Args:
        shapes: see HostSlab.
        inputs: see HostSlab; with uint16 in place of float32 where the model takes bfloat16.
        capacity: slots.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], inputs: Mapping[str, TensorInfo], capacity: int) -> None:
        super().__init__(shapes, inputs, capacity, _tensor)

    def write(self, slot: int, tensors: Mapping[str, AnyArray]) -> None:
        """See Slab.write."""
        super().write(slot, {name: self._kept(name, value) for name, value in tensors.items()})

    def read(self, slot: int) -> dict[str, AnyArray]:
        """See Slab.read; bfloat16 becomes float32, which is exact."""
        found = super().read(slot)
        return {name: to_float32(value) if value.dtype == HALF else value for name, value in found.items()}

    def _kept(self, name: str, value: AnyArray) -> AnyArray:
        return to_bfloat16(value) if name in self.arrays and self.arrays[name].dtype == HALF else value


class OpenVinoEngine:
    """A compiled model that keeps engines.engine.Engine.

    Slabs lie in host memory, and a run refers to them there. Every concurrent run has an infer request of its own; one
    that waits for the next run holds on to what the last one was given.

    Args:
        compiled: the model.
        signature: what its graph takes, gives and says.
        precision: what it computes in.

    Raises:
        EngineError: an input or output of the graph that the model does not have.
    """

    name = "openvino"
    version: str = ov.get_version().split("-")[0]
    provider = CPU
    device = "cpu"
    limits = Limits()

    def __init__(self, compiled: Any, signature: Signature, precision: Precision) -> None:
        self.inputs: Mapping[str, TensorInfo] = signature.inputs
        self.outputs: Mapping[str, TensorInfo] = signature.outputs
        self.metadata: Mapping[str, str] = signature.metadata
        self.precision = precision
        self._compiled: Any = compiled
        self._inputs = _places(self.inputs, compiled.inputs)
        self._outputs = _places(self.outputs, compiled.outputs)
        self._halves = {
            name for name, port in self._inputs.items() if compiled.inputs[port].element_type == ov.Type.bf16
        }
        self._idle: list[_Request] = []
        self._lock = threading.Lock()

    def allocate(self, shapes: Mapping[str, tuple[int, ...]], capacity: int) -> OpenVinoSlab:
        """See Engine.allocate; the capacity is rounded up to a power of two, since spare slots cost no memory here."""
        self._open_model()
        check_shapes(self.inputs, {name: (capacity, *shape) for name, shape in shapes.items()})
        inputs = {
            name: replace(self.inputs[name], dtype=HALF) if name in self._halves else self.inputs[name]
            for name in shapes
        }
        return OpenVinoSlab(shapes, inputs, 1 << (capacity - 1).bit_length())

    def run(
        self, feeds: Mapping[str, AnyArray], resident: Slab | None = None, slot: int | None = None
    ) -> dict[str, AnyArray]:
        """See Engine.run; a feed goes before a resident tensor of the same name."""
        compiled = self._open_model()
        if not isinstance(resident, OpenVinoSlab | None):
            raise EngineError("these resident tensors are of another engine")
        values = resident.values(slot) if resident else {}
        check_feeds(self.inputs, feeds, {*values})
        try:
            given = {
                name: _tensor(to_bfloat16(array) if name in self._halves else array) for name, array in feeds.items()
            }
            with self._lock:
                request = self._idle.pop() if self._idle else _Request(compiled)
            found = request.run({self._inputs[name]: value for name, value in {**values, **given}.items()})
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
        core = ov.Core()
        model = core.read_model(graph)
        if floats(options, settings) is Precision.BF16:
            model = _with_bfloat16_bank(model, signature)
        compiled = core.compile_model(model, CPU, _config(options, settings))
        precision, rest = openvino_precision.computed(compiled, said), openvino_precision.kept(compiled)
        if precision in QUANTISED and rest != HINTS[Precision(settings.rest)]:
            raise EngineError(f"{where}: OpenVINO computes the rest in {rest}, {settings.rest} was asked for")
        return OpenVinoEngine(compiled, signature, precision)
    except FAILURES as error:
        raise EngineError(f"{where}: OpenVINO refuses this graph: {_sentence(error)}") from None


def check_installed(options: EngineOptions, settings: OpenVinoSettings) -> None:
    """Raise UsageError as open_graph does; every installation runs on the CPU."""
    floats(options, settings)


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


def _with_bfloat16_bank(model: Any, signature: Signature) -> Any:
    """Return the model with a bank in bfloat16: from a float32 one it would convert every slot of it in every run."""
    steps = PrePostProcessor(model)
    for name, info in signature.inputs.items():
        if name != bank.IMAGES and info.dtype == np.float32:
            steps.input(name).tensor().set_element_type(ov.Type.bf16)
    return steps.build()


def _places(infos: Mapping[str, TensorInfo], ports: Any) -> dict[str, int]:
    """Return where a model has its graph's inputs or outputs."""
    held = {name: place for place, port in enumerate(ports) for name in port.get_names()}
    lacking = [name for name in infos if name not in held]
    if lacking:
        raise EngineError(f"OpenVINO made a model without '{lacking[0]}' of this graph; run atd export again")
    return {name: held[name] for name in infos}


def _tensor(array: AnyArray) -> Any:
    """Return a tensor that shares an array's memory; uint16 holds bfloat16. One that can't be written to is copied."""
    whole = np.require(array, requirements=("C", "W"))
    if whole.dtype == HALF:
        return ov.Tensor(whole, ov.Shape(whole.shape), ov.Type.bf16)
    return ov.Tensor(whole, shared_memory=True)


def _sentence(error: Exception) -> str:
    """Return what an OpenVINO message says in one line, without the places in its source."""
    lines = [SOURCE.sub("", line).strip() for line in str(error).splitlines() if not IDLE.fullmatch(line)]
    first, *more = [line for line in lines if line] or [type(error).__name__]
    return (f"{first} {more[-1]}" if more and first.endswith(":") else first)[:300]
