"""What a search for the best way to serve a bundle tried, and what it left out."""

from __future__ import annotations

from dataclasses import dataclass

from adaptertune_deploy.bench.setups import Setup
from adaptertune_deploy.bench.spread import Spread
from adaptertune_deploy.core.precision import Precision


@dataclass(frozen=True)
class Tried:
    """A configuration that was timed.

    engine, precision, device, threads: what is asked of the engine (engines.options.EngineOptions).
    batch: rows of a run, each about another image.
    rounds: how often it ran.
    milliseconds: of one run.
    gain: how many times as many images as the untuned server it answers in the same time, round by round; None where
        the two did not run side by side.
    """

    engine: str
    precision: Precision
    device: str
    threads: int
    batch: int
    rounds: int
    milliseconds: Spread
    gain: Spread | None = None

    def __post_init__(self) -> None:
        if self.batch < 1 or self.threads < 0 or self.rounds < 1:
            raise ValueError(
                f"batch {self.batch}, threads {self.threads} and rounds {self.rounds}, expected at least 1, 0 and 1"
            )
        if not 0 < self.milliseconds.low <= self.milliseconds.median <= self.milliseconds.high:
            raise ValueError(f"milliseconds {self.milliseconds} must be ascending numbers above 0")

    @property
    def setup(self) -> Setup:
        """How the graph is run, whatever the batch."""
        return Setup(self.engine, self.precision, self.device, self.threads)

    @property
    def images_per_second(self) -> float:
        """Of a server that always has a full batch."""
        return 1e3 * self.batch / self.milliseconds.median

    @property
    def words(self) -> str:
        """What people read: "openvino in bf16 on 2 threads, batches of 8"."""
        return f"{self.setup.words}, batches of {self.batch}"


@dataclass(frozen=True)
class LeftOut:
    """A configuration that is no choice, and why."""

    engine: str
    precision: Precision
    threads: int
    reason: str


@dataclass(frozen=True)
class Checked:
    """How far an engine's answers in a precision lie from torch's; see bench.agreement.Agreement."""

    engine: str
    precision: Precision
    images: int
    same: int
    max_abs: float
    of_tolerance: float


@dataclass(frozen=True)
class Evidence:
    """All that a search found.

    looked: everything that was timed by itself.
    final: the best of it once more, side by side; the first is the untuned server.
    checked: engines and precisions whose answers were compared with torch's.
    left_out: what is no choice.
    """

    looked: tuple[Tried, ...]
    final: tuple[Tried, ...]
    checked: tuple[Checked, ...]
    left_out: tuple[LeftOut, ...]
