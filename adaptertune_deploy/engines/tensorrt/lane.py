"""A lane: all that one run at a time needs of a plan, kept from run to run.

Host memory that is pinned, memory on the GPU, a stream, and for each step of shapes an execution context with fixed
addresses. A step's first run gives its work to the stream call by call; right after it the same work, copies included,
is captured as a CUDA graph, and every further run is one launch. What changes between runs, rows and the tasks in a
bank, is data at fixed addresses and never an address. A captured graph belongs to its context's state, so no context
serves two steps; all of a lane's contexts share one scratch memory, since they never run at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.bank.packed import PACKED, PackedBank
from adaptertune_deploy.engines.cuda import runtime as cuda
from adaptertune_deploy.engines.cuda.runtime import DeviceMemory, Graph, PinnedArray, Stream
from adaptertune_deploy.engines.engine import AnyArray, TensorInfo
from adaptertune_deploy.engines.limits import step_for, steps_up_to
from adaptertune_deploy.engines.tensorrt.library import last_words
from adaptertune_deploy.engines.tensorrt.shapes import Capacity, profile_for
from adaptertune_deploy.engines.tensorrt.slab import TensorrtSlab


@dataclass(frozen=True)
class Program:
    """A plan that is loaded.

    trt, plan, runtime: the library's module, the ICudaEngine, and the Runtime that has to live as long as it does.
    inputs, outputs: what the plan takes and gives.
    layout: of the packed bank; None for a merged graph.
    gpu: index of the GPU.
    graphs: whether runs are captured as CUDA graphs.
    """

    trt: Any
    plan: Any
    runtime: Any
    inputs: Mapping[str, TensorInfo]
    outputs: Mapping[str, TensorInfo]
    capacity: Capacity
    layout: PackedBank | None
    gpu: int
    graphs: bool


@dataclass
class _Step:
    """One step of shapes. copies: (name, bytes) of what goes to the GPU and comes back."""

    context: Any
    sent: Mapping[str, int]
    received: Mapping[str, int]
    graph: Graph | None = None


@dataclass(eq=False)
class _NoBank:
    """Stands for the bank of a merged graph."""

    addresses: Mapping[str, int] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


Bank = TensorrtSlab | _NoBank


class Lane:
    """Runs a program, one run at a time.

    Args:
        program: what it runs.

    Raises:
        EngineError: no memory on the GPU.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        cuda.use_device(program.gpu)
        self._stream = Stream()
        self._scratch = DeviceMemory(program.plan.device_memory_size_v2)
        self._host: dict[str, PinnedArray] = {}
        self._memory: dict[str, DeviceMemory] = {}
        rows = program.capacity.rows
        for name, info in {**program.inputs, **program.outputs}.items():
            if name not in PACKED:
                self._host[name] = PinnedArray(tuple(rows if isinstance(n, str) else n for n in info.shape), info.dtype)
                self._memory[name] = DeviceMemory(self._host[name].array.nbytes)
        self._no_bank = _NoBank()
        self._steps: WeakKeyDictionary[Bank, dict[tuple[int, int], _Step]] = WeakKeyDictionary()
        self._staged: dict[int, TensorrtSlab] = {}

    def run(
        self, feeds: Mapping[str, AnyArray], bank_feeds: Mapping[str, AnyArray], resident: TensorrtSlab | None
    ) -> dict[str, AnyArray]:
        """Run the plan once.

        Args:
            feeds: `images`, and of a shared graph `image` and `task`, which names slots of the bank.
            bank_feeds: a bank in host memory, core.adapter.bank.stack, in place of a resident one; empty for none.
            resident: a bank on this GPU.

        Returns:
            Every output's rows, owned by the caller.

        Raises:
            EngineError: the GPU or TensorRT failed.
        """
        cuda.use_device(self._program.gpu)
        held: Bank = self._stage(bank_feeds) if bank_feeds else resident or self._no_bank
        images, rows = len(feeds[bank.IMAGES]), len(feeds.get(bank.TASK, feeds[bank.IMAGES]))
        steps = self._program.capacity.steps
        key = step_for(steps, images), step_for(steps, max(images, rows))
        step = self._step(held, key)
        for name, array in feeds.items():
            pinned = self._host[name].array
            pinned[: len(array)] = array
            if name != bank.IMAGES:
                pinned[len(array) : key[1]] = array[0]  # a padded row repeats the first one
        if step.graph is not None:
            step.graph.launch()
        else:
            self._give(step)
        self._stream.wait()
        if step.graph is None and self._program.graphs:
            step.graph = self._capture(step)
        return {name: self._host[name].array[:rows].copy() for name in self._program.outputs}

    def _capture(self, step: _Step) -> Graph:
        try:
            return self._stream.capture(lambda: self._give(step))
        except EngineError as error:
            raise EngineError(f"{error}; to run without CUDA graphs: -E cuda_graphs=false") from None

    def _give(self, step: _Step) -> None:
        """Give one run to the stream: inputs to the GPU, the plan, outputs back."""
        for name, size in step.sent.items():
            self._stream.to_device(self._memory[name].address, self._host[name].address, size)
        if not step.context.execute_async_v3(self._stream.handle):
            raise EngineError(f"{self._program.trt.__name__} could not run the plan: {last_words(self._program.trt)}")
        for name, size in step.received.items():
            self._stream.to_host(self._host[name].address, self._memory[name].address, size)

    def _step(self, held: Bank, key: tuple[int, int]) -> _Step:
        steps = self._steps.setdefault(held, {})
        if key not in steps:
            steps[key] = self._make_step(held, key)
        return steps[key]

    def _make_step(self, held: Bank, key: tuple[int, int]) -> _Step:
        """Return a context with the step's shapes and addresses, which nothing changes afterwards."""
        program, trt = self._program, self._program.trt
        images, rows = key
        context = program.plan.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is None:
            raise EngineError(f"{trt.__name__} makes no execution context: {last_words(trt)}")
        context.set_device_memory(self._scratch.address, self._scratch.size)
        fits = context.set_optimization_profile_async(profile_for(rows), self._stream.handle)
        self._stream.wait()
        sent: dict[str, int] = {}
        for name, info in program.inputs.items():
            count = images if name == bank.IMAGES else rows
            shape = held.shapes[name] if name in PACKED else _sized(info, count)
            fits = fits and context.set_input_shape(name, shape)
            if name not in PACKED:
                sent[name] = _bytes(info, shape)
        lacking = context.infer_shapes()
        if not fits or lacking:
            raise EngineError(f"{trt.__name__} refuses {rows} rows about {images} images: {last_words(trt)}")
        received = {name: _bytes(info, _sized(info, rows)) for name, info in program.outputs.items()}
        addresses = {name: memory.address for name, memory in self._memory.items()} | dict(held.addresses)
        for name in (*program.inputs, *program.outputs):
            if not context.set_tensor_address(name, addresses[name]):
                raise EngineError(f"{trt.__name__} refuses the memory of '{name}': {last_words(trt)}")
        return _Step(context, sent, received)

    def _stage(self, feeds: Mapping[str, AnyArray]) -> TensorrtSlab:
        """Return a bank on the GPU with the tasks of one in host memory.

        It has room for as many tasks as a run has rows, which costs nothing but memory, and its rank comes in steps.
        """
        layout, capacity = self._program.layout, self._program.capacity
        assert layout is not None
        tasks = len(next(iter(feeds.values())))
        rank = layout.rank({name: array.shape[1:] for name, array in feeds.items()})
        if tasks > capacity.rows or rank > capacity.rank:
            raise EngineError(
                f"a bank that is fed has at most {capacity.rows} tasks of rank {capacity.rank}, {tasks} of rank {rank} "
                "were given; see -E max_rows and -E max_rank"
            )
        step = step_for(steps_up_to(capacity.rank), rank)
        if step not in self._staged:
            self._staged[step] = TensorrtSlab(layout, step, capacity.rows, self._program.gpu)
        staged = self._staged[step]
        for slot in range(tasks):
            staged.put(slot, {name: array[slot] for name, array in feeds.items()})
        return staged


def _sized(info: TensorInfo, rows: int) -> tuple[int, ...]:
    return tuple(rows if isinstance(size, str) else size for size in info.shape)


def _bytes(info: TensorInfo, shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64)) * info.dtype.itemsize
