"""The file in which atd tune writes how to serve a bundle on a machine, and atd serve reads it.

It lies in the cache (core.storage.cache, "tuning"), never in the bundle: what is fastest on one machine is not on
another.

    $ATD_CACHE/tuning/GRAPHS-MACHINE.json    hashes of the graphs, and of the processor, its cores and the GPUs

Versions of engines are no part of the name: who tunes again after an update replaces what was measured before it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adaptertune_deploy.bench.machine import Machine
from adaptertune_deploy.bench.setups import forms_of
from adaptertune_deploy.bench.tried import Evidence, Tried
from adaptertune_deploy.core.bundle.manifest import FORMS, Manifest
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.spec import check_sha256
from adaptertune_deploy.core.storage import cache, files, records

FORMAT_VERSION = 1
FOLDER = "tuning"
DIGITS = 16  # of each hash in a file's name


@dataclass(frozen=True)
class Tuning:
    """How to serve a bundle's graphs on a machine.

    graphs: graphs_hash of the bundle.
    form: that was measured.
    machine: where.
    measured: when, "2026-11-28 22:10 UTC".
    allowed: precisions below fp32 that the choice could have.
    latency_ms: three of four runs had to take no longer; None for no bound.
    choice: one of evidence.final.
    """

    format_version: int
    graphs: str
    form: str
    machine: Machine
    measured: str
    allowed: tuple[Precision, ...]
    latency_ms: float | None
    choice: Tried
    evidence: Evidence

    def __post_init__(self) -> None:
        check_sha256(self.graphs)
        if self.form not in FORMS:
            raise ValueError(f"form {self.form!r:.80} must be one of {', '.join(FORMS)}")
        if self.choice not in self.evidence.final:
            raise ValueError("the choice is none of those that ran side by side")
        if self.choice.precision not in (Precision.FP32, *self.allowed):
            raise ValueError(f"the choice is in {self.choice.precision}, which was not allowed")

    @property
    def words(self) -> str:
        """What people read: the choice, when it was measured, and where."""
        return f"{self.choice.words}, measured {self.measured} on {self.machine.words}"


@dataclass(frozen=True)
class Lookup:
    """What there is for a bundle on a machine: a tuning to follow, or why the one that is there is none; or neither."""

    tuning: Tuning | None = None
    reason: str | None = None


def served_form(manifest: Manifest, form: str = "auto") -> str | None:
    """Return the form that a server takes, None for a bundle that it can't serve."""
    return form if form != "auto" else next(iter(forms_of(manifest)), None)


def graphs_hash(manifest: Manifest, form: str) -> str:
    """Return the SHA-256 over a bundle's graphs of one form; a task that is added to a shared graph changes nothing."""
    hashes = sorted(graph.sha256 for graph in manifest.graphs if graph.form == form)
    return files.sha256_bytes("\n".join(hashes).encode())


def write_tuning(tuning: Tuning) -> Path:
    """Write a tuning in place of an older one of the same graphs and machine, and return where.

    Raises:
        UsageError: the user has no folder for a cache.
    """
    path = place(tuning.graphs, tuning.machine)
    records.write(path, tuning)
    return path


def read_tuning(path: Path) -> Tuning:
    """Read a tuning.

    Raises:
        FormatError: no such file, another version, an unknown or missing field, values that contradict each other.
    """
    return records.read(path, Tuning, FORMAT_VERSION, "measure again with: atd tune")


def find_tuning(graphs: str, machine: Machine) -> Lookup:
    """Return what was measured of these graphs on this machine; of another machine's only that it is not followed.

    Args:
        graphs: graphs_hash of the bundle.
        machine: this one.
    """
    path = place(graphs, machine)
    others = sorted(path.parent.glob(f"{graphs[:DIGITS]}-*.json")) if path.parent.is_dir() else []
    if path not in others and not others:
        return Lookup()
    try:
        found = read_tuning(path if path in others else others[0])
    except FormatError as error:
        return Lookup(reason=str(error))
    if found.graphs != graphs:
        return Lookup(reason=f"{path}: is of other graphs")
    difference = machine.difference(found.machine)
    if difference is None:
        return Lookup(found)
    return Lookup(reason=f"it was measured {found.measured} on another machine (here {difference})")


def place(graphs: str, machine: Machine) -> Path:
    """Return where the tuning of these graphs and this machine lies."""
    told = "\n".join([machine.processor, str(machine.cores), *machine.gpus])
    return cache.cache_folder(FOLDER) / f"{graphs[:DIGITS]}-{files.sha256_bytes(told.encode())[:DIGITS]}.json"
