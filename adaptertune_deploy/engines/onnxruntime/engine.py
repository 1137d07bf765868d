"""ONNX Runtime: one session on the CPU or on an NVIDIA GPU."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from adaptertune_deploy.core import cores
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.errors import EngineError, UsageError
from adaptertune_deploy.engines import heap
from adaptertune_deploy.engines.cuda.copies import DeviceCopies
from adaptertune_deploy.engines.engine import AnyArray, Slab, TensorInfo
from adaptertune_deploy.engines.feeds import check_feeds, check_shapes
from adaptertune_deploy.engines.limits import Limits, steps_up_to
from adaptertune_deploy.engines.onnxruntime import providers as ort_providers
from adaptertune_deploy.engines.onnxruntime.arenas import SHRINK, Peaks, arenas
from adaptertune_deploy.engines.onnxruntime.device_slab import OrtDeviceSlab
from adaptertune_deploy.engines.onnxruntime.lanes import Lanes, shares
from adaptertune_deploy.engines.onnxruntime.library import FAILURES, ort, run_options
from adaptertune_deploy.engines.onnxruntime.messages import first_line
from adaptertune_deploy.engines.onnxruntime.providers import CPU, CUDA, TENSORRT
from adaptertune_deploy.engines.onnxruntime.session import check_build, open_session
from adaptertune_deploy.engines.onnxruntime.settings import OrtSettings
from adaptertune_deploy.engines.onnxruntime.slab import OrtSlab
from adaptertune_deploy.engines.onnxruntime.stacked_bank import StackedBank
from adaptertune_deploy.engines.onnxruntime.stacked_slab import StackedSlab
from adaptertune_deploy.engines.onnxruntime.steps import GRAPH_ID, Maker, OrtSteps
from adaptertune_deploy.engines.options import EngineOptions, gpu_index

DTYPES: dict[str, np.dtype[Any]] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(double)": np.dtype(np.float64),
    **{f"tensor({kind})": np.dtype(kind) for kind in ("float16", "uint8", "int8", "int32", "int64", "bool")},
}


class OrtEngine:
    """An ONNX Runtime session that keeps engines.engine.Engine.

    Slabs live on the provider's device, and a run refers to them there; nothing is copied per run but the feeds.

    Args:
        session: a session that runs on `provider`.
        provider: one of ort_providers.
        gpu: which GPU the session runs on; nothing to a CPU.
        where: the graph's file, for messages.
        steps: row counts of runs that are captured as CUDA graphs, ascending; () captures nothing.
        beside: a session of the same graph for runs beside others; None where there is none.
        at_once: see limits.Limits.
        layout: where a task's tensors go in the session's inputs; None where they are the graph's own.

    Raises:
        EngineError: an input or output that is no array of numbers.
        FormatError: the graph is in a precision that this release does not know.
    """

    name = "onnxruntime"
    version: str = ort.__version__

    def __init__(
        self,
        session: Any,
        provider: str,
        gpu: int,
        where: str,
        steps: tuple[int, ...] = (),
        beside: Any = None,
        at_once: int = 1,
        layout: StackedBank | None = None,
    ) -> None:
        self.provider = provider
        self.device = "cpu" if provider == CPU else f"cuda:{gpu}"
        own = Limits(rows=steps, max_rows=max(steps, default=None), at_once=at_once)
        self.limits = ort_providers.TENSORRT_LIMITS if provider == TENSORRT else own
        self.inputs: Mapping[str, TensorInfo] = _plain(_describe(session.get_inputs(), where), layout)
        self.outputs: Mapping[str, TensorInfo] = _describe(session.get_outputs(), where)
        self.metadata: Mapping[str, str] = dict(session.get_modelmeta().custom_metadata_map)
        self.precision = graph_facts.precision_of(self.metadata, where)
        self._layout = layout
        self._bank = frozenset(layout.plain if layout is not None else ())
        self._lanes: Lanes | None = Lanes(session, beside)
        self._arenas = arenas(provider, gpu)
        self._place = ("cpu", 0) if provider == CPU else ("cuda", gpu)
        self._copies: DeviceCopies | None = None if provider == CPU else DeviceCopies(gpu)
        # Held by a run that may be captured as a CUDA graph: what another thread asks of the GPU meanwhile spoils it.
        self._still = threading.Lock()
        maker = Maker(self._wrap, run_options, self._still)
        self._steps = OrtSteps(session, self.inputs, self.outputs, steps, maker) if steps else None

    def allocate(self, shapes: Mapping[str, tuple[int, ...]], capacity: int) -> OrtSlab | OrtDeviceSlab:
        """See Engine.allocate; on a CPU rounded up to a power of two, since spare slots cost no memory there."""
        self._open_lanes()
        check_shapes(self.inputs, {name: (capacity, *shape) for name, shape in shapes.items()})
        rounded = 1 << (capacity - 1).bit_length()
        try:
            if self._layout is not None:
                return StackedSlab(self._layout, shapes, rounded, self._wrap)
            if self._copies is None:
                return OrtSlab(shapes, self.inputs, rounded, self._wrap)
            return OrtDeviceSlab(
                shapes, self.inputs, capacity, self._place, self._wrap, self._copies.write, self._still
            )
        except FAILURES as error:
            raise EngineError(f"the tensors don't fit on the device: {first_line(error)}") from None

    def run(
        self, feeds: Mapping[str, AnyArray], resident: Slab | None = None, slot: int | None = None
    ) -> dict[str, AnyArray]:
        """See Engine.run; a tensor is resident or fed, never both."""
        lanes = self._open_lanes()
        if not isinstance(resident, OrtSlab | OrtDeviceSlab | None):
            raise EngineError("these resident tensors are of another engine")
        check_feeds(self.inputs, feeds, resident.arrays if resident else ())
        both = [name for name in feeds if resident and name in resident.arrays]
        if both:
            raise EngineError(f"input '{both[0]}' is resident and was given besides; leave it out of the feeds")
        try:
            if self._steps is not None and (resident is not None or len(self.inputs) == 1):
                return self._steps.run(feeds, resident, slot)
            with lanes.take() as lane:
                binding = lane.session.io_binding()
                if resident is not None:
                    resident.bind(binding, slot)
                for name, array in self._fed(feeds).items():
                    binding.bind_cpu_input(name, np.ascontiguousarray(array))
                for name in self.outputs:
                    binding.bind_output(name, "cpu")
                lane.session.run_with_iobinding(binding, self._options(lane.peaks, _rows(feeds)))
                return dict(zip(self.outputs, binding.copy_outputs_to_cpu(), strict=True))
        except FAILURES as error:
            raise EngineError(f"ONNX Runtime could not run the graph: {first_line(error)}") from None

    def close(self) -> None:
        """See Engine.close."""
        self._lanes = self._steps = None
        heap.give_back()

    def _fed(self, feeds: Mapping[str, AnyArray]) -> Mapping[str, AnyArray]:
        """Return feeds as the session's inputs."""
        if self._layout is None or self._bank.isdisjoint(feeds):
            return feeds
        rest = {name: array for name, array in feeds.items() if name not in self._bank}
        return rest | self._layout.stack({name: feeds[name] for name in self._bank & feeds.keys()})

    def _options(self, peaks: Peaks, rows: int) -> Any:
        """Return what a run of so many rows is told, None for nothing."""
        if self._steps is not None:
            return run_options(GRAPH_ID, "-1")  # nothing is captured; what was captured needs its memory
        return run_options(SHRINK, self._arenas) if self._arenas and peaks.passed(rows) else None

    def _wrap(self, array: AnyArray) -> Any:
        """Return a value on the engine's device, which on a CPU shares the array's memory."""
        return ort.OrtValue.ortvalue_from_numpy(array, *self._place)

    def _open_lanes(self) -> Lanes:
        if self._lanes is None:
            raise EngineError("this engine is closed; open the graph again")
        return self._lanes


def open_graph(graph: bytes, where: str, options: EngineOptions, settings: OrtSettings) -> OrtEngine:
    """Load a graph into ONNX Runtime.

    Args:
        graph: the bytes of an ONNX file that engines.onnx.plain_graph accepts.
        where: the file they come from, for messages.
        options: of the device "auto" a GPU is taken where ONNX Runtime offers CUDA and it really loads, else the CPU;
            of 0 threads one on every physical core that this process may use, bound to none.
        settings: ONNX Runtime's own.

    Raises:
        UsageError: a provider that does not run on the device.
        EngineError: not a graph that ONNX Runtime runs, or what was named does not work here.
    """
    provider = _provider(options, settings)
    if provider is None and CUDA in ort.get_available_providers():
        with contextlib.suppress(EngineError):
            return _open(graph, where, CUDA, options, settings)
    return _open(graph, where, provider or CPU, options, settings)


def check_installed(options: EngineOptions, settings: OrtSettings) -> None:
    """Raise EngineError when this build of onnxruntime lacks what is asked for, UsageError as open_graph does."""
    provider = _provider(options, settings)
    if provider not in (None, CPU):
        check_build(provider)
    if provider == TENSORRT:
        ort_providers.check_tensorrt()


def _provider(options: EngineOptions, settings: OrtSettings) -> str | None:
    """Return the provider that was named, or that goes with the named device; None where neither is named."""
    named = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT}.get(settings.provider)
    if settings.cuda_graphs:
        if named not in (None, CUDA):
            raise UsageError(f"-E cuda_graphs=true: goes with -E provider=cuda, not with {settings.provider}")
        named = CUDA
    if options.device == "auto":
        return named
    fits = (CPU,) if gpu_index(options.device) is None else (CUDA, TENSORRT)
    if named not in (None, *fits):
        typed = "cuda_graphs=true" if settings.cuda_graphs else f"provider={settings.provider}"
        raise UsageError(f"-E {typed}: does not run on --device {options.device}; leave out one")
    return named or fits[0]


def _open(graph: bytes, where: str, provider: str, options: EngineOptions, settings: OrtSettings) -> OrtEngine:
    # Left to itself ONNX Runtime binds each of its threads to a core, where a thread that decodes or calls holds it up
    # while another core idles; the threads of two servers lie on the same cores.
    threads = options.threads or cores.physical(cores.read_small)
    at_once, share = shares(threads, options.at_once if provider == CPU else 1)
    beside = share if at_once > 1 else 0
    opened = open_session(graph, where, provider, replace(options, threads=threads), settings, beside)
    steps = steps_up_to(settings.max_rows) if settings.cuda_graphs else ()
    gpu = gpu_index(options.device) or 0
    return OrtEngine(opened.session, provider, gpu, where, steps, opened.beside, at_once, opened.bank)


def _rows(feeds: Mapping[str, AnyArray]) -> int:
    return max((array.shape[0] for array in feeds.values() if array.ndim), default=1)


def _plain(inputs: Mapping[str, TensorInfo], layout: StackedBank | None) -> dict[str, TensorInfo]:
    """Return the inputs of the graph's file, given those of the session."""
    if layout is None:
        return dict(inputs)
    return {name: info for name, info in inputs.items() if name not in layout.infos} | layout.plain


def _describe(arguments: Any, where: str) -> dict[str, TensorInfo]:
    """Return inputs or outputs by name; an unnamed dynamic dimension gets the name "?"."""
    result = {}
    for argument in arguments:
        if argument.type not in DTYPES:
            raise EngineError(
                f"{where}: '{argument.name}' has type {argument.type}, expected one of {', '.join(DTYPES)}; "
                "run atd export again"
            )
        shape = tuple("?" if size is None else size for size in argument.shape)
        result[argument.name] = TensorInfo(argument.name, DTYPES[argument.type], shape)
    return result
