"""What many tasks cost: one more, a large one among small ones, and memory; on ONNX Runtime's CPU provider.

    python -m benchmarks.inference.bank --model deit_tiny_patch16_224 --rounds 40

Times of runs are CPU time of 8 rows of random tasks, interleaved in one process on one engine, as ratios to a bank of
10 tasks, round by round. Memory is the resident memory of processes of their own, after such a run, without torch, once
malloc has given back what it kept free: reading a large task takes more memory for a moment than the task does.
"""

from __future__ import annotations

import argparse
import dataclasses
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adaptertune_deploy.bench.interleaved import time_interleaved
from adaptertune_deploy.bench.machine import describe_machine
from adaptertune_deploy.bench.memory import resident_mb
from adaptertune_deploy.bench.spread import Spread, ratios
from adaptertune_deploy.core.adapter import heads
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.adapter.identity import tensor_shapes
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.spec import AdapterSpec, BackboneSpec, TaskSpec
from adaptertune_deploy.engines import heap
from adaptertune_deploy.engines.bank.bank import SlotBank
from adaptertune_deploy.engines.bank.handle import Handle
from adaptertune_deploy.engines.engine import Engine
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import ON_CPU
from benchmarks import documents

RESULTS = documents.results("bank")
RANK, CLASSES, ROWS = 8, 37, 8
LARGE_RANK, MANY_CLASSES = 64, 1000
SIZES = (10, 100, 1000)


@dataclasses.dataclass(frozen=True)
class Kind:
    """Some tasks that are alike, written "RANKxCLASSESxCOUNT"."""

    rank: int
    classes: int
    count: int

    def __str__(self) -> str:
        return f"{self.rank}x{self.classes}x{self.count}"

    @classmethod
    def parse(cls, text: str) -> Kind:
        """Return the kind that a text stands for."""
        return cls(*map(int, text.split("x")))


@dataclasses.dataclass(frozen=True)
class Bench:
    """An engine with a bank of tasks.

    small: where the tasks of the first kind lie; their heads.
    """

    engine: Engine
    bank: SlotBank
    small: list[Handle]
    ends: list[heads.Head]
    spec: BackboneSpec

    @classmethod
    def fill(cls, engine: Engine, kinds: Sequence[Kind]) -> Bench:
        """Write tasks of these kinds into a new bank of an engine with a shared graph."""
        facts = graph_facts.from_metadata(engine.metadata, "the graph")
        spec = facts.backbone
        bank = SlotBank(engine, facts.slots, spec.width, spec.features)
        each = [kind for kind in kinds for _ in range(kind.count)]
        bank.reserve(kind.rank for kind in each)
        made: list[tuple[Handle, heads.Head]] = []
        for number, kind in enumerate(each):
            adapter = make_task(spec, facts.slots, kind, number)
            made.append((bank.write(adapter), heads.head_of(adapter)))
        small = made[: kinds[0].count]
        return cls(engine, bank, [entry[0] for entry in small], [entry[1] for entry in made], spec)

    def rows(self, seed: int = 0) -> Callable[[], object]:
        """Return how to run ROWS rows of random tasks of the first kind, heads included."""
        draw = np.random.default_rng(seed)
        images = draw.normal(size=(ROWS, 3, *self.spec.image_size)).astype(np.float32)
        task = draw.integers(0, len(self.small), ROWS)
        handles = [self.small[place] for place in task.tolist()]
        image = np.arange(ROWS, dtype=np.int64)
        return lambda: heads.apply(self.ends, self.bank.features(images, image, handles), task)

    def close(self) -> None:
        """Leave the engine open: other banks are on it."""


def make_task(spec: BackboneSpec, slots: Sequence[int], kind: Kind, seed: int) -> Adapter:
    """Return a task with random tensors, adapted after all of these blocks."""
    labels = tuple(f"class {index}" for index in range(kind.classes))
    task = TaskSpec(f"task{seed}", labels, AdapterSpec(kind.rank, 1.0, tuple(slots)))
    draw = np.random.default_rng(seed)
    shapes = tensor_shapes(task, spec)
    return Adapter(task, {name: draw.normal(0, 0.02, shape).astype(np.float32) for name, shape in shapes.items()})


def replacing(graph: bytes, tasks: int, times: int) -> Spread:
    """Return the milliseconds that it takes to replace one of many tasks."""
    engine = open_engine(graph, "shared", ON_CPU)
    bench = Bench.fill(engine, [Kind(RANK, CLASSES, tasks)])
    facts = graph_facts.from_metadata(engine.metadata, "the graph")
    new = [make_task(bench.spec, facts.slots, Kind(RANK, CLASSES, 1), 10_000 + seed) for seed in range(8)]
    places = np.random.default_rng(0).integers(0, tasks, times).tolist()
    taken = []
    for number, place in enumerate(places):
        started = time.process_time()
        bench.bank.write(new[number % len(new)], bench.small[place])
        taken.append(1e3 * (time.process_time() - started))
    engine.close()
    return Spread.of(taken)


def latencies(graph: bytes, banks: dict[str, list[Kind]], rounds: int, openings: int) -> dict[str, Spread]:
    """Return the CPU time of runs with each bank, as a ratio to the first one."""
    seconds: dict[str, list[float]] = {name: [] for name in banks}
    for opening in range(openings):
        engine = open_engine(graph, "shared", ON_CPU)

        def opener(kinds: list[Kind], engine: Engine = engine, seed: int = opening) -> Any:
            bench = Bench.fill(engine, kinds)
            return bench, bench.rows(seed)

        openers = {name: lambda kinds=kinds, opener=opener: opener(kinds) for name, kinds in banks.items()}
        for name, taken in time_interleaved(openers, rounds // openings, 1, time.process_time).items():
            seconds[name] += taken
        engine.close()
    first = next(iter(seconds))
    return {name: ratios(taken, seconds[first]) for name, taken in seconds.items()}


def memory_mb(path: Path, kinds: Sequence[Kind], sessions: int = 1) -> float:
    """Return the resident memory, MB, of a process with so many engines, each with tasks of these kinds."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.inference.bank",
        "--child",
        str(path),
        ",".join(map(str, kinds)),
        str(sessions),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def child(path: Path, kinds: Sequence[Kind], sessions: int) -> float:
    """Open engines, run each once, and return this process's resident memory in MB (10^6 bytes)."""
    held = []
    for _ in range(sessions):
        bench = Bench.fill(open_engine(path.read_bytes(), "shared", ON_CPU), kinds)
        bench.rows()()
        held.append(bench)
    heap.give_back()
    return resident_mb()


def own_mb(spec: BackboneSpec, slots: Sequence[int], kind: Kind) -> float:
    """Return the size of a task's tensors in MB."""
    return sum(value.nbytes for value in make_task(spec, slots, kind, 0).tensors.values()) / 1e6


def measure_memory(path: Path, tasks: int, sessions: int) -> dict[str, float]:
    """Return MB of processes: one task, 100 tasks, several sessions, many tasks without and with two large ones."""
    small = [Kind(RANK, CLASSES, tasks)]
    large = [Kind(RANK, CLASSES, tasks - 2), Kind(LARGE_RANK, CLASSES, 1), Kind(RANK, MANY_CLASSES, 1)]
    engine = open_engine(path.read_bytes(), "shared", ON_CPU)
    facts = graph_facts.from_metadata(engine.metadata, "the graph")
    engine.close()
    one = memory_mb(path, [Kind(RANK, CLASSES, 1)])
    several = memory_mb(path, [Kind(RANK, CLASSES, 1)], sessions)
    return {
        "one_task": one,
        "100_tasks": memory_mb(path, [Kind(RANK, CLASSES, 100)]),
        "sessions": sessions,
        "sessions_of_one_task": several,
        "100_sessions_at_that_rate": one + 99 * (several - one) / (sessions - 1),
        "tasks": tasks,
        "many_tasks": memory_mb(path, small),
        "many_tasks_two_of_them_large": memory_mb(path, large),
        "the_large_ones_own": sum(own_mb(facts.backbone, facts.slots, kind) for kind in large[1:]),
    }


def export(model: str) -> bytes:
    """Return the shared graph of a timm model with random weights and a slot after every block."""
    import torch

    from adaptertune_deploy.export.shared import export_shared
    from adaptertune_deploy.model.backbone import load_backbone

    torch.manual_seed(0)
    backbone = load_backbone(f"{model}.random", allow_random=True)
    return export_shared(backbone, tuple(range(backbone.spec.depth)))


def main(arguments: list[str]) -> None:
    """Measure, print and write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference.bank", description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="deit_tiny_patch16_224", help="timm name (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=40, help="runs of each bank (default: %(default)s)")
    parser.add_argument("--openings", type=int, default=4, help="times that the engine is opened afresh")
    parser.add_argument("--tasks", type=int, default=max(SIZES), help="of the largest bank (default: %(default)s)")
    parser.add_argument("--sessions", type=int, default=10, help="sessions to measure (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the numbers (default: %(default)s)")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        path, kinds, sessions = given.child
        print(child(Path(path), [Kind.parse(text) for text in kinds.split(",")], int(sessions)))
        return
    graph = export(given.model)
    sizes = [size for size in SIZES if size < given.tasks] + [given.tasks]
    banks = {f"{size} tasks": [Kind(RANK, CLASSES, size)] for size in sizes}
    banks[f"{given.tasks} tasks, two of them large"] = [
        Kind(RANK, CLASSES, given.tasks - 2), Kind(LARGE_RANK, CLASSES, 1), Kind(RANK, MANY_CLASSES, 1)
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shared.onnx"
        path.write_bytes(graph)
        memory = measure_memory(path, given.tasks, given.sessions)
    facts = {
        "machine": dataclasses.asdict(describe_machine()),
        "model": given.model,
        "replace_ms": dataclasses.asdict(replacing(graph, given.tasks, 10 * given.rounds)),
        "cpu_time": {
            name: dataclasses.asdict(spread)
            for name, spread in latencies(graph, banks, given.rounds, min(given.openings, given.rounds)).items()
        },
        "memory_mb": {name: round(value, 1) for name, value in memory.items()},
    }
    print(documents.write(given.json, facts), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
