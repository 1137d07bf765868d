"""Find how this machine serves a bundle best: engines, precisions, threads and batches, with torch's answers kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from adaptertune_deploy.bench.agreement import Agreement, agreement
from adaptertune_deploy.bench.budget import Budget
from adaptertune_deploy.bench.choose import choose
from adaptertune_deploy.bench.interleaved import Run
from adaptertune_deploy.bench.known import Known, images_for
from adaptertune_deploy.bench.machine import Machine
from adaptertune_deploy.bench.search import Space, search
from adaptertune_deploy.bench.setups import Setup, engines_here, setups
from adaptertune_deploy.bench.subject import asking
from adaptertune_deploy.bench.tuning import FORMAT_VERSION, Tuning, graphs_hash
from adaptertune_deploy.core.bundle.manifest import Manifest
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.options import USUAL
from adaptertune_deploy.serve.sessions.opener import Opener
from adaptertune_deploy.serve.sessions.session import Session, open_records
from adaptertune_deploy.serve.settings import FOUND_BATCH

BATCHES = (1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class Request:
    """What to tune.

    form: "shared" or "merged".
    engines: keys of engines.table.ENGINES, at least one.
    allowed: precisions besides fp32 that the choice may have.
    device: as a user names it.
    threads: of one run, besides the engine's own choice.
    batches: rows, ascending.
    latency_ms: see bench.choose.choose.
    """

    form: str
    engines: tuple[str, ...]
    allowed: tuple[Precision, ...] = ()
    device: str = "auto"
    threads: tuple[int, ...] = ()
    batches: tuple[int, ...] = BATCHES
    latency_ms: float | None = None


@dataclass
class SessionTrial:
    """A session as bench.search.Trial."""

    session: Session
    precision: Precision
    known: Sequence[Known]
    images: Array

    def __post_init__(self) -> None:
        self.limits = self.session.engine.limits

    def check(self) -> Agreement | None:
        """See Trial.check."""
        return agreement(self.session, self.known, self.precision) if self.known else None

    def run(self, batch: int) -> Run:
        """See Trial.run; the rows mix the bundle's tasks."""
        return asking(self.session, self.images[:batch])

    def close(self) -> None:
        """See Trial.close."""
        self.session.close()


def tune(
    folder: Path,
    manifest: Manifest,
    request: Request,
    known: list[Known],
    machine: Machine,
    budget: Budget,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> Tuning:
    """Measure and choose; nothing is written.

    Args:
        folder: the bundle.
        manifest: its manifest.
        request: what to try.
        known: tasks whose answers by torch are known.
        machine: this one.
        budget: how long it may take.
        now: the time in UTC.

    Raises:
        UsageError: nothing of the request runs here, or nothing is as fast as it asks.
        AtdError: the first of what may be chosen does not work.
    """
    images = images_for(known, max(*request.batches, usual_batch()), manifest.preprocess.size)

    def open_trial(setup: Setup) -> SessionTrial:
        session = open_records(Opener(folder, manifest, setup.options), manifest.tasks, request.form)
        return SessionTrial(session, setup.precision, known, images)

    found = ways(manifest, request)
    first = untuned(manifest, request) or found[0]
    space = Space(found, first, request.threads, request.batches, usual_batch(), request.latency_ms)
    evidence = search(space, open_trial, budget)
    return Tuning(
        FORMAT_VERSION,
        graphs_hash(manifest, request.form),
        request.form,
        machine,
        f"{now():%Y-%m-%d %H:%M} UTC",
        request.allowed,
        request.latency_ms,
        choose(evidence.final, request.latency_ms, request.engines),
        evidence,
    )


def ways(manifest: Manifest, request: Request) -> tuple[Setup, ...]:
    """Return the engines and precisions that may be chosen, what a server takes untuned first.

    Raises:
        UsageError: nothing runs here.
    """
    precisions = (Precision.FP32, *request.allowed)
    found = list(setups(manifest, request.form, request.engines, precisions, request.device))
    if not found:
        raise UsageError(
            f"none of {', '.join(request.engines)} runs a {request.form} graph of this bundle in "
            f"{', '.join(precisions)}; export fp32 too, or --allow a precision that the bundle holds"
        )
    found.sort(key=lambda setup: (setup.engine, setup.precision) != (USUAL.engine, USUAL.precision))
    return tuple(found)


def untuned(manifest: Manifest, request: Request) -> Setup | None:
    """Return what a server takes that nobody tuned, be it asked for or not; None where that does not run here."""
    usual = [USUAL.engine] if USUAL.engine in engines_here(request.device) else []
    return next(setups(manifest, request.form, usual, [USUAL.precision], request.device), None)


def thread_counts(cores: int) -> tuple[int, ...]:
    """Return the numbers of threads that are worth a try on so many cores, besides the engine's own choice."""
    return tuple(dict.fromkeys((cores, max(1, cores // 2), 1)))


def usual_batch() -> int:
    """Return the largest batch of a server that nobody tuned; it may find that a smaller one is as fast."""
    return FOUND_BATCH
