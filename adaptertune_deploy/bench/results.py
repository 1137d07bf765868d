"""What atd bench measured, and the file bench.json that holds it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adaptertune_deploy.bench.machine import Machine
from adaptertune_deploy.bench.spread import Spread
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage import records

FORMAT_VERSION = 1
BENCH_NAME = "bench.json"


@dataclass(frozen=True)
class Way:
    """One way to run a bundle: its form, an engine and a precision."""

    form: str
    engine: str
    precision: Precision

    @property
    def words(self) -> str:
        """What people read: "shared fp32 onnxruntime"."""
        return f"{self.form} {self.precision} {self.engine}"


@dataclass(frozen=True)
class Ran:
    """A way with some tasks at one batch.

    tasks: of the bundle's, in turn.
    batch: rows of a run, each about another image, mixing the tasks.
    rounds: how often it ran; everything of the same number of tasks ran in the same rounds.
    milliseconds, p99_ms: of one run; of less than 100 rounds p99 is the slowest.
    memory_mb: resident memory of a fresh process after such a run, 10^6 bytes; None where time was up.
    disk_bytes: of the files that a server of these tasks reads.
    of_limit: share of what the engine does at most in this precision here (Limit); None where that is not known.
    """

    way: Way
    tasks: int
    batch: int
    rounds: int
    milliseconds: Spread
    p99_ms: float
    memory_mb: float | None
    disk_bytes: int
    of_limit: float | None

    @property
    def images_per_second(self) -> float:
        """Of a server that always has a full batch."""
        return 1e3 * self.batch / self.milliseconds.median


@dataclass(frozen=True)
class Answered:
    """How a way's answers lie to torch's stored ones; see bench.agreement.Agreement."""

    way: Way
    images: int
    same: int
    max_abs: float
    of_tolerance: float


@dataclass(frozen=True)
class Limit:
    """The most that an engine computes in a precision here, in large matrix products; 10^9 operations a second."""

    engine: str
    precision: Precision
    gflops: float


@dataclass(frozen=True)
class Bench:
    """A measurement.

    backbone: timm's name.
    image_gflop: of one image, 10^9 operations (bench.work); None where its graph does not tell.
    machine: where.
    measured: when, "2026-11-28 22:10 UTC".
    seconds: how long it took.
    answered: ways whose answers were compared.
    left_out: what was not measured, and why, in sentences.
    """

    format_version: int
    backbone: str
    image_gflop: float | None
    machine: Machine
    measured: str
    seconds: float
    ran: tuple[Ran, ...]
    answered: tuple[Answered, ...]
    limits: tuple[Limit, ...]
    left_out: tuple[str, ...]


def write_bench(folder: Path, bench: Bench) -> Path:
    """Write bench.json into a folder, which is made where it is absent, and return its path."""
    path = folder / BENCH_NAME
    records.write(path, bench)
    return path


def read_bench(path: Path) -> Bench:
    """Read a bench.json.

    Raises:
        FormatError: no such file, another version, an unknown or missing field.
    """
    return records.read(path, Bench, FORMAT_VERSION, "measure again with: atd bench")
