"""A measurement of atd bench with planted numbers."""

from __future__ import annotations

from adaptertune_deploy.bench.machine import Machine
from adaptertune_deploy.bench.results import Answered, Bench, Limit, Ran, Way
from adaptertune_deploy.bench.spread import Spread
from adaptertune_deploy.core.precision import Precision

MACHINE = Machine("A CPU avx2", 4, 16, (), "3.12.1", {"onnxruntime": "1.32.0"})
SHARED, MERGED = (Way(form, "onnxruntime", Precision.FP32) for form in ("shared", "merged"))


def ran(way: Way, tasks: int, batch: int, milliseconds: float, memory: float | None) -> Ran:
    spread = Spread(milliseconds, 0.9 * milliseconds, 1.1 * milliseconds)
    return Ran(way, tasks, batch, 50, spread, 1.2 * milliseconds, memory, 22_000_000 * tasks, 0.5)


def make_bench() -> Bench:
    """Return a measurement in which a model takes 10 ms for each task, and the backbone 20 ms for all of them."""
    entries = []
    for tasks in (1, 10):
        for batch in (1, 8):
            entries.append(ran(SHARED, tasks, batch, 20.0 * batch, 100.0))
            entries.append(ran(MERGED, tasks, batch, 10.0 * tasks * batch, 50.0 * tasks))
    return Bench(
        1,
        "vit_test",
        2.5,
        MACHINE,
        "2026-01-02 03:04 UTC",
        12.5,
        tuple(entries),
        (Answered(SHARED, 64, 63, 1e-5, 0.2),),
        (Limit("onnxruntime", Precision.FP32, 200.0),),
        ("memory of 3 of 4: time was up",),
    )
