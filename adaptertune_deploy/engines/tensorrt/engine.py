"""TensorRT: a plan built on this machine for its GPU, run in steps of rows as CUDA graphs.

Nothing here was run on a GPU yet; docs/results/where-it-ran.md says what was run where.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.engines.bank.packed import PackedBank, pack
from adaptertune_deploy.engines.cuda import runtime as cuda
from adaptertune_deploy.engines.cuda.driver import Driver, Gpu, ask_driver, find_gpu
from adaptertune_deploy.engines.engine import AnyArray, Slab, TensorInfo
from adaptertune_deploy.engines.feeds import check_feeds
from adaptertune_deploy.engines.limits import Limits
from adaptertune_deploy.engines.onnx import signature as onnx_signature
from adaptertune_deploy.engines.onnx.signature import Signature
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.tensorrt import library, plans
from adaptertune_deploy.engines.tensorrt.build import numpy_type
from adaptertune_deploy.engines.tensorrt.child import build_in_child
from adaptertune_deploy.engines.tensorrt.lane import Lane, Program
from adaptertune_deploy.engines.tensorrt.plans import PlanFacts, PlanMachine
from adaptertune_deploy.engines.tensorrt.request import BuildRequest, request_for
from adaptertune_deploy.engines.tensorrt.settings import TensorrtSettings
from adaptertune_deploy.engines.tensorrt.slab import TensorrtSlab

logger = logging.getLogger(__name__)
CLOSED = "this engine is closed; open the graph again"
# What is made of a shared graph before TensorRT reads it, in this order; each gives a graph with the same inputs as the
# one before, or is `pack`. A plugin that computes a whole slot would be one more: it puts its node in the place of a
# slot's (pack has shown how such nodes are found), and library.load registers its creator.
TRANSFORMS: tuple[Callable[[bytes, PackedBank, str], bytes], ...] = (pack,)


@dataclass(frozen=True)
class _Source:
    """A graph as it was read, and as TensorRT reads it. layout: None for a merged graph."""

    signature: Signature
    derived: bytes
    layout: PackedBank | None
    precision: Precision
    where: str


class TensorrtEngine:
    """A plan that keeps engines.engine.Engine.

    Args:
        name: key of library.LIBRARIES.
        source: the graph.
        program: the plan, loaded.
        contexts: runs at a time.

    Raises:
        EngineError: no memory on the GPU.
    """

    def __init__(self, name: str, source: _Source, program: Program, contexts: int) -> None:
        self.name = name
        self.version: str = program.trt.__version__
        self.provider = library.LIBRARIES[name].label
        self.device = f"cuda:{program.gpu}"
        self.precision = source.precision
        self.inputs, self.outputs = source.signature.inputs, source.signature.outputs
        self.metadata = source.signature.metadata
        capacity, shared = program.capacity, program.layout is not None
        self.limits = Limits(
            rows=capacity.steps,
            max_rows=capacity.rows,
            max_slots=capacity.slots if shared else None,
            max_rank=capacity.rank if shared else None,
        )
        self._program: Program | None = program
        # A lane is lent to one run at a time; None tells whoever waits that the engine was closed.
        self._lanes: queue.LifoQueue[Lane | None] = queue.LifoQueue()
        for _ in range(contexts):
            self._lanes.put(Lane(program))
        self._count = contexts

    def allocate(self, shapes: Mapping[str, tuple[int, ...]], capacity: int) -> TensorrtSlab:
        """See Engine.allocate; the capacity is rounded up to a power of two as far as the plan takes so many."""
        program = self._opened()
        if program.layout is None:
            raise EngineError("a merged graph has no bank")
        rank = program.layout.rank(shapes)
        most = program.capacity
        if not 1 <= capacity <= most.slots or rank > most.rank:
            raise EngineError(
                f"this plan takes {most.slots} slots of rank {most.rank} at most, {capacity} of rank {rank} were asked "
                f"for; open it with -E slots={max(capacity, most.slots)} -E max_rank={max(rank, most.rank)}"
            )
        return TensorrtSlab(program.layout, rank, min(1 << (capacity - 1).bit_length(), most.slots), program.gpu)

    def run(
        self, feeds: Mapping[str, AnyArray], resident: Slab | None = None, slot: int | None = None
    ) -> dict[str, AnyArray]:
        """See Engine.run; a bank is resident or fed, never a mixture of both."""
        program = self._opened()
        own = {name: array for name, array in feeds.items() if name in program.inputs}
        fed = {name: array for name, array in feeds.items() if name not in own}
        if not isinstance(resident, TensorrtSlab | None) or (resident and resident.layout is not program.layout):
            raise EngineError("these resident tensors are of another engine")
        check_feeds(self.inputs, feeds, self.inputs if resident else ())
        if resident and (fed or bank.TASK not in own or bank.IMAGE not in own):
            raise EngineError(f"with a resident bank a run takes '{bank.IMAGES}', '{bank.IMAGE}' and '{bank.TASK}'")
        rows = max(map(len, own.values()))
        if not 1 <= rows <= program.capacity.rows or not len(own[bank.IMAGES]):
            raise EngineError(f"a run takes 1 to {program.capacity.rows} rows, {rows} were given; see -E max_rows")
        if program.layout is not None:
            tasks = len(next(iter(fed.values()))) if fed else 1 if slot is not None else _slots(resident)
            # A GPU reads whatever lies where an index out of range points to.
            bank.check_rows(len(own[bank.IMAGES]), own[bank.IMAGE], own[bank.TASK], tasks)
            if resident and slot is not None:
                resident.check_slot(slot)
                own[bank.TASK] = own[bank.TASK] + slot
        lane = self._lanes.get()
        try:
            if lane is None:
                raise EngineError(CLOSED)
            return lane.run(own, fed, resident)
        finally:
            self._lanes.put(lane)

    def close(self) -> None:
        """See Engine.close; waits for runs to end."""
        if self._program is None:
            return
        self._program = None
        for _ in range(self._count):
            self._lanes.get()
        self._lanes.put(None)

    def _opened(self) -> Program:
        if self._program is None:
            raise EngineError(CLOSED)
        return self._program


def _slots(resident: TensorrtSlab | None) -> int:
    if resident is None:
        raise EngineError("the bank was not given")
    return resident.capacity


def open_graph(graph: bytes, where: str, options: EngineOptions, settings: TensorrtSettings) -> TensorrtEngine:
    """Load a graph's plan into TensorRT, building it first where this machine has none.

    Args:
        graph: the bytes of an ONNX file that engines.onnx.plain_graph accepts.
        where: the file they come from, for messages.
        options: of the device "auto" the first GPU is taken; threads mean nothing here.
        settings: TensorRT's own.

    Raises:
        EngineError: no driver, no TensorRT, no such GPU, or a graph that TensorRT refuses.
        FormatError: the graph does not say what it is.
    """
    driver, gpu, trt = _here(options)
    source = _source(graph, where)
    request = request_for(gpu, settings, len(source.layout.slots) if source.layout else 0)
    plan, runtime = _plan(trt, options.engine, source, request, driver, gpu)
    inputs, outputs = _described(trt, plan, source)
    program = Program(
        trt, plan, runtime, inputs, outputs, request.capacity, source.layout, gpu.index, settings.cuda_graphs
    )
    return TensorrtEngine(options.engine, source, program, settings.contexts)


def check_installed(options: EngineOptions, settings: TensorrtSettings) -> None:
    """Raise EngineError where there is no driver, no such GPU, no TensorRT or no CUDA bindings."""
    _here(options)


def _here(options: EngineOptions) -> tuple[Driver, Gpu, Any]:
    """Return driver, GPU and library; the driver is asked first, since without one TensorRT ends the process."""
    driver = ask_driver()
    gpu = find_gpu(driver, options.device)
    trt = library.load(options.engine)
    cuda.use_device(gpu.index)
    return driver, gpu, trt


def _source(graph: bytes, where: str) -> _Source:
    signature = onnx_signature.read(graph, where)
    facts = graph_facts.from_metadata(signature.metadata, where)
    precision = graph_facts.precision_of(signature.metadata, where)
    if precision is Precision.INT8:
        raise EngineError(f"{where}: TensorRT has no operators for {precision}; take --precision {Precision.INT8_QDQ}")
    layout = PackedBank.of(signature.inputs, facts.slots, where) if facts.task is None else None
    derived = graph
    if layout is not None:
        for transform in TRANSFORMS:
            derived = transform(derived, layout, where)
    return _Source(signature, derived, layout, precision, where)


def _plan(trt: Any, engine: str, source: _Source, request: BuildRequest, driver: Driver, gpu: Gpu) -> tuple[Any, Any]:
    """Return the plan that this machine keeps, or a new one, deserialised, and the Runtime that it belongs to."""
    cuda_version = ".".join(map(str, driver.cuda))
    machine = PlanMachine(trt.__name__, trt.__version__, gpu.name, gpu.sm, driver.release, cuda_version)
    graph = files.sha256_bytes(source.derived)
    facts = PlanFacts(machine, graph, source.precision.value, request.settings())
    runtime = trt.Runtime(library.message_log(trt))
    plan = _kept(runtime, facts)
    if plan is None:
        with plans.building(facts, 2 * len(source.derived)):
            plan = _kept(runtime, facts)  # another process may have built it meanwhile
            if plan is None:
                logger.warning(
                    "%s: building a %s plan for %s, once on this machine; takes a minute or several",
                    source.where,
                    library.LIBRARIES[engine].label,
                    gpu.name,
                )
                timing = plans.load_timing(machine)
                made, timing = build_in_child(engine, source.derived, request, timing, source.where)
                plan = runtime.deserialize_cuda_engine(made)
                if plan is None:
                    raise EngineError(
                        f"{source.where}: {trt.__name__} can't load the plan it built: {library.last_words(trt)}"
                    )
                plans.store_plan(facts, made)
                if timing:
                    plans.store_timing(machine, timing)
    return plan, runtime


def _kept(runtime: Any, facts: PlanFacts) -> Any:
    """Return the kept plan, deserialised; None where there is none that TensorRT takes."""
    kept = plans.load_plan(facts)
    return None if kept is None else runtime.deserialize_cuda_engine(kept)


def _described(trt: Any, plan: Any, source: _Source) -> tuple[dict[str, TensorInfo], dict[str, TensorInfo]]:
    """Return the plan's inputs and outputs, which must be those of the graph that it was built of."""
    expected = onnx_signature.read(source.derived, source.where)
    found: dict[str, Any] = {}
    for index in range(plan.num_io_tensors):
        name = plan.get_tensor_name(index)
        found[name] = plan.get_tensor_mode(name) == trt.TensorIOMode.INPUT, numpy_type(trt, plan.get_tensor_dtype(name))
    wanted = {name: (True, info.dtype) for name, info in expected.inputs.items()}
    wanted |= {name: (False, info.dtype) for name, info in expected.outputs.items()}
    if found != wanted:
        names = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
        raise EngineError(f"{source.where}: the plan has other inputs or outputs than the graph: {', '.join(names)}")
    return dict(expected.inputs), dict(expected.outputs)
