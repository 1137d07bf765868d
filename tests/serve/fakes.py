"""An engine that computes in numpy, can be held and made to fail, and the sessions and servers built on it.

The network: mean colour of the image times a fixed [3, D] matrix, the adapters one after another, the head. It has
the shared graph's inputs and meaning (core.adapter.bank), so shared, merged and plain per-task results can be compared.
"""

from __future__ import annotations

import math
import queue
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.adapter.heads import head_of
from adaptertune_deploy.core.adapter.identity import tensor_name
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.bundle.graph_facts import GraphFacts
from adaptertune_deploy.core.errors import EngineError, RequestError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.bank.slab import HostSlab
from adaptertune_deploy.engines.engine import Slab, TensorInfo
from adaptertune_deploy.engines.limits import Limits
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.table import EngineEntry
from adaptertune_deploy.serve.sessions.merged_session import MergedSession
from adaptertune_deploy.serve.sessions.shared_session import SharedSession
from adaptertune_deploy.serve.tasks.live_tasks import LiveTasks
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from tests.banks import all_inputs, tasks_of
from tests.builders import make_adapter, make_backbone_spec, make_preprocess_spec, make_task
from tests.engines.onnx_files import field as protobuf_field

Array = npt.NDArray[np.float32]
SLOTS = (0, 1, 2, 3)
LEAK = re.compile(r"0x[0-9a-f]{6,}|<[\w.]+ object|Traceback|\.py\b|/(home|root|tmp|opt|usr|etc|work)/")
WIDTH = 8
WAIT_S = 30
_ERF = np.vectorize(math.erf, otypes=[np.float64])


def projection(width: int = WIDTH) -> Array:
    """Return the fixed [3, D] matrix that stands for the backbone."""
    return np.cos(np.arange(3 * width, dtype=np.float64)).reshape(3, width).astype(np.float32)


def gelu(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return x * 0.5 * (1 + _ERF(x / math.sqrt(2)))


def reference(image: Array, adapter: Adapter) -> npt.NDArray[np.float64]:
    """Return one task's logits [C] for one image [3, H, W], straight from the adapter file's layout, in float64."""
    tensors = {name: value.astype(np.float64) for name, value in adapter.tensors.items()}
    x = image.astype(np.float64).mean(axis=(1, 2)) @ projection().astype(np.float64)
    for block in adapter.task.adapter.blocks:
        down, up = (
            (tensors[tensor_name(block, side, "weight")], tensors[tensor_name(block, side, "bias")])
            for side in ("down", "up")
        )
        x = x + adapter.task.adapter.alpha * (up[0] @ gelu(down[0] @ x + down[1]) + up[1])
    return (tensors["head.weight"] @ x + tensors["head.bias"]) / adapter.task.temperature


def shared_network(feeds: Mapping[str, npt.NDArray[Any]]) -> Array:
    """Compute the shared graph in numpy: features [B, F]."""
    task = feeds[bank.TASK]
    x = (feeds[bank.IMAGES].mean(axis=(2, 3), dtype=np.float64) @ projection())[feeds[bank.IMAGE]]
    for block in SLOTS:
        down, up = (
            (feeds[tensor_name(block, side, "weight")][task], feeds[tensor_name(block, side, "bias")][task])
            for side in ("down", "up")
        )
        hidden = gelu(np.einsum("bd,bdr->br", x, down[0]) + down[1])
        x = x + np.einsum("br,brd->bd", hidden, up[0]) + up[1]
    return np.asarray(x, dtype=np.float32)


def merged_network(adapter: Adapter) -> Callable[[Mapping[str, npt.NDArray[Any]]], Array]:
    """Return a function that computes one task's merged graph: logits [N, C]."""
    held, head = bank.stack([bank.folded_blocks(adapter)], SLOTS, WIDTH), head_of(adapter)

    def compute(feeds: Mapping[str, npt.NDArray[Any]]) -> Array:
        rows = np.arange(len(feeds[bank.IMAGES]))
        features = shared_network({**held, **feeds, bank.IMAGE: rows, bank.TASK: np.zeros_like(rows)})
        return features @ head.weight + head.bias

    return compute


@dataclass
class FakeEngine:
    """An engine whose runs can be held, counted and spoiled.

    gate: while cleared, a run waits inside the engine.
    entered: gets one item for every run that begins.
    calls: the inputs of every run, those that were resident included.
    error: raised by every run while set.
    poison: places in make_adapters() of tasks whose rows come back as NaN.
    output: the name of what it gives.
    """

    name: ClassVar[str] = "fake"
    version: ClassVar[str] = "1"
    compute: Callable[[Mapping[str, npt.NDArray[Any]]], Array] = shared_network
    output: str = bank.FEATURES
    provider: str = "CPUExecutionProvider"
    device: str = "cpu"
    precision: Precision = Precision.FP32
    limits: Limits = field(default_factory=Limits)
    inputs: Mapping[str, TensorInfo] = field(default_factory=dict)
    outputs: Mapping[str, TensorInfo] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    calls: list[dict[str, npt.NDArray[Any]]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    entered: queue.SimpleQueue[int] = field(default_factory=queue.SimpleQueue)
    error: Exception | None = None
    poison: frozenset[int] = frozenset()
    closed: bool = False

    def __post_init__(self) -> None:
        self.gate.set()

    def allocate(self, shapes: Mapping[str, tuple[int, ...]], capacity: int) -> HostSlab:
        inputs = {name: TensorInfo(name, np.dtype(np.float32), ()) for name in shapes}
        return HostSlab(shapes, inputs, capacity)

    def run(
        self, feeds: Mapping[str, npt.NDArray[Any]], resident: Slab | None = None, slot: int | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        call = all_inputs(feeds, resident, slot)
        self.calls.append(call)
        self.entered.put(len(self.calls))
        if not self.gate.wait(WAIT_S):
            raise EngineError("the test never opened the gate")
        if self.error is not None:
            raise self.error
        with np.errstate(over="ignore", invalid="ignore"):
            answer = self.compute(call)
        if self.poison:
            answer[[task in self.poison for task in asked(call)]] = np.nan
        return {self.output: answer}

    def close(self) -> None:
        self.closed = True

    def wait_entered(self) -> None:
        """Return when a run has begun that no earlier call of this function has seen."""
        self.entered.get(timeout=WAIT_S)

    def forget(self) -> None:
        """Forget the runs so far, warm-up for example."""
        self.calls.clear()
        while not self.entered.empty():
            self.entered.get()


def make_adapters() -> list[Adapter]:
    """Return three tasks that differ in rank, blocks, alpha and class count."""
    tasks = (
        make_task("pets", classes=3, rank=2, alpha=0.5),
        make_task("flowers", classes=5, rank=4, blocks=(1, 3), alpha=2.0),
        make_task("digits", classes=2, rank=1, blocks=(2,)),
    )
    backbone = make_backbone_spec(width=WIDTH, depth=len(SLOTS))
    return [make_adapter(task, backbone, seed) for seed, task in enumerate(tasks)]


SERVED = [ServedTask(key, adapter.task) for key, adapter in enumerate(make_adapters())]


def asked(call: Mapping[str, npt.NDArray[Any]]) -> list[int]:
    """Return which of make_adapters() each row of a run was given."""
    return tasks_of(call, make_adapters())


def make_shared(engine: FakeEngine | None = None, adapters: Sequence[Adapter] | None = None) -> SharedSession:
    backbone = make_backbone_spec(width=WIDTH, depth=len(SLOTS))
    session = SharedSession(engine or FakeEngine(), SLOTS, backbone, make_preprocess_spec())
    for adapter in make_adapters() if adapters is None else adapters:
        session.put(adapter)
    return session


def make_merged(adapters: Sequence[Adapter] | None = None) -> tuple[MergedSession, list[FakeEngine]]:
    held = list(adapters or make_adapters())
    engines = [FakeEngine(merged_network(adapter), bank.LOGITS) for adapter in held]
    session = MergedSession(make_backbone_spec().name, make_preprocess_spec())
    for engine, adapter in zip(engines, held, strict=True):
        session.put(engine, adapter.task)
    return session, engines


def served(*places: int) -> list[ServedTask]:
    """Return tasks of make_adapters(), as a session opened with these has them; the same ones in every call."""
    return [SERVED[place] for place in places]


def live(*places: int) -> LiveTasks:
    """Return tasks of make_adapters() as those that new requests get."""
    return LiveTasks(served(*places), lambda task: None, lambda task: None)


@dataclass(frozen=True)
class FakeSettings:
    """There is nothing to set."""


# A line of the table of engines that opens FakeEngine.
ENTRY = EngineEntry("Fake", "tests.serve.fakes", "numpy", FakeSettings)
OPENED: list[FakeEngine] = []


def stand_in(network: str) -> bytes:
    """Return the bytes of a "graph" that open_graph knows: an ONNX file with nothing but a name in it."""
    return protobuf_field(2, network)


def make_facts(adapter: Adapter | None) -> GraphFacts:
    """Return the facts of the fake shared graph, or of one task's merged graph."""
    backbone, task = make_backbone_spec(width=WIDTH, depth=len(SLOTS)), adapter.task if adapter else None
    slots = SLOTS if task is None else task.adapter.blocks
    return GraphFacts(graph_facts.FORMAT_VERSION, backbone, make_preprocess_spec(), slots, task)


def make_infos(facts: GraphFacts) -> tuple[dict[str, TensorInfo], dict[str, TensorInfo]]:
    """Return the inputs and outputs of a graph with these facts."""
    shapes: dict[str, tuple[int | str, ...]] = {bank.IMAGES: ("N", 3, *facts.backbone.image_size)}
    if facts.task is None:
        shapes |= {bank.IMAGE: ("B",), bank.TASK: ("B",), **bank.input_shapes(SLOTS, WIDTH)}
    integers = (bank.IMAGE, bank.TASK)
    inputs = {
        name: TensorInfo(name, np.dtype(np.int64 if name in integers else np.float32), shape)
        for name, shape in shapes.items()
    }
    name, size = (bank.FEATURES, WIDTH) if facts.task is None else (bank.LOGITS, len(facts.task.labels))
    return inputs, {name: TensorInfo(name, np.dtype(np.float32), ("B", size))}


def open_graph(graph: bytes, where: str, options: EngineOptions, settings: FakeSettings) -> FakeEngine:
    """Open a graph of stand_in, as the module of an EngineEntry does: "shared", or a task's name."""
    by_name = {adapter.task.name: adapter for adapter in make_adapters()}
    adapter = next((held for name, held in by_name.items() if graph == stand_in(name)), None)
    if adapter is None and graph != stand_in("shared"):
        raise EngineError(f"{where}: refused")
    facts = make_facts(adapter)
    metadata = graph_facts.to_metadata(facts)
    engine = FakeEngine(metadata=metadata)
    if adapter:
        engine = FakeEngine(merged_network(adapter), bank.LOGITS, metadata=metadata)
    engine.inputs, engine.outputs = make_infos(facts)
    OPENED.append(engine)
    return engine


def wait_until(reached: Callable[[], bool]) -> None:
    """Return when a server in another thread has reached a state; looks a thousand times a second."""
    pause = threading.Event()
    for _ in range(1000 * WAIT_S):
        if reached():
            return
        pause.wait(0.001)
    raise AssertionError("the state was never reached")


def random_images(count: int, seed: int = 0, size: tuple[int, int] = (32, 32)) -> Array:
    return np.random.default_rng(seed).normal(size=(count, 3, *size)).astype(np.float32)


def indices(*values: int) -> npt.NDArray[np.int64]:
    return np.array(values, dtype=np.int64)


def status_of(function: Callable[..., object], *arguments: object) -> int | None:
    """Call a function; return the status of the RequestError it raised, or None. Its text must tell no secrets."""
    try:
        function(*arguments)
    except RequestError as error:
        check_error_text(str(error))
        return error.status
    return None


def check_error_text(text: str) -> None:
    """Assert that a message for clients holds no path, repr, address or traceback."""
    assert not LEAK.search(text), text
