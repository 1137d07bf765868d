"""A clock that only runs move on, and ways to serve whose times are planted."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from adaptertune_deploy.bench.agreement import Agreement
from adaptertune_deploy.bench.setups import Setup
from adaptertune_deploy.bench.spread import Spread
from adaptertune_deploy.bench.tried import Tried
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.limits import Limits

SAME = Agreement(10, 10, 1e-6, 0.01)
Milliseconds = Callable[[Setup, int], float]


@dataclass
class Clock:
    """Seconds that pass only where somebody adds them."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def ticking(step: float = 0.01) -> Callable[[], float]:
    """Return a clock on which every look takes `step` seconds, however long real work takes."""
    ticks = itertools.count()
    return lambda: step * next(ticks)


@dataclass
class PlantedTrial:
    """Keeps bench.search.Trial."""

    setup: Setup
    world: World

    def __post_init__(self) -> None:
        self.limits = self.world.limits

    def check(self) -> Agreement | None:
        return self.world.answers.get((self.setup.engine, self.setup.precision), self.world.usually)

    def run(self, batch: int) -> Callable[[], object]:
        def run() -> None:
            self.world.runs.append((self.setup, batch))
            self.world.clock.now += self.world.milliseconds(self.setup, batch) / 1e3

        return run

    def close(self) -> None:
        self.world.open.remove(self.setup)


@dataclass
class World:
    """What opens, how it answers, and how long a run takes.

    milliseconds: of a run of so many rows.
    answers: of engines and precisions that do not answer `usually`.
    broken: engines that do not open.
    open: setups that are open now; most: how many were at once.
    """

    milliseconds: Milliseconds
    answers: Mapping[tuple[str, Precision], Agreement] = field(default_factory=dict)
    usually: Agreement | None = SAME
    broken: frozenset[str] = frozenset()
    limits: Limits = field(default_factory=Limits)
    clock: Clock = field(default_factory=Clock)
    runs: list[tuple[Setup, int]] = field(default_factory=list)
    open: list[Setup] = field(default_factory=list)
    most: int = 0

    def opening(self, setup: Setup) -> PlantedTrial:
        if setup.engine in self.broken:
            raise EngineError(f"{setup.engine} is broken")
        self.open.append(setup)
        self.most = max(self.most, len(self.open))
        return PlantedTrial(setup, self)


def tried(
    engine: str = "onnxruntime",
    precision: Precision = Precision.FP32,
    threads: int = 0,
    batch: int = 8,
    milliseconds: float = 80.0,
    gain: float = 1.0,
) -> Tried:
    """Return a configuration whose runs all took the same time."""
    spread = Spread(milliseconds, milliseconds, milliseconds)
    return Tried(engine, precision, "auto", threads, batch, 5, spread, Spread(gain, gain, gain))
