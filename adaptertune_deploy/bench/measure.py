"""Measure a bundle: form x precision x engine x batch x number of tasks, in a given time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from adaptertune_deploy.bench.agreement import Agreement, agreement, joined
from adaptertune_deploy.bench.budget import Budget
from adaptertune_deploy.bench.ceiling import GPU_SIDE, SIDE, measure_ceiling
from adaptertune_deploy.bench.interleaved import Run, time_rounds
from adaptertune_deploy.bench.known import Known, images_for
from adaptertune_deploy.bench.machine import Machine
from adaptertune_deploy.bench.memory import Question, measure_memory
from adaptertune_deploy.bench.results import FORMAT_VERSION, Answered, Bench, Limit, Ran, Way
from adaptertune_deploy.bench.setups import Setup, setups
from adaptertune_deploy.bench.spread import Spread, p99
from adaptertune_deploy.bench.subject import asking, disk_bytes, open_tasks
from adaptertune_deploy.bench.work import image_flop
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import MERGED, Manifest, TaskRecord
from adaptertune_deploy.core.errors import AtdError, EngineError, UsageError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.serve.sessions.opener import Opener
from adaptertune_deploy.serve.sessions.session import open_records

LIMITS_SHARE, MEMORY_SHARE = 0.1, 0.45  # of the time that is left then; the rest goes to the times of runs
FLOATS = (Precision.FP32, Precision.FP16, Precision.BF16)


@dataclass(frozen=True)
class Plan:
    """What to measure.

    forms, engines, precisions: what may be; what the bundle lacks or an engine does not run is no part of it.
    device, threads: see engines.options.EngineOptions.
    batches: rows of a run, ascending.
    tasks: numbers of tasks, ascending; beyond those that the bundle holds they are repeated.
    """

    forms: tuple[str, ...]
    engines: tuple[str, ...]
    precisions: tuple[Precision, ...] = tuple(Precision)
    device: str = "auto"
    threads: int = 0
    batches: tuple[int, ...] = (1, 8)
    tasks: tuple[int, ...] = (1, 3, 10)


def measure(
    folder: Path,
    manifest: Manifest,
    plan: Plan,
    known: Sequence[Known],
    machine: Machine,
    budget: Budget,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> Bench:
    """Measure what a plan names; what does not work here is left out and said.

    Args:
        folder: the bundle.
        manifest: its manifest.
        plan: what to measure.
        known: tasks whose answers by torch are known.
        machine: this one.
        budget: how long it may take. The fewest tasks are always timed.
        now: the time in UTC.

    Raises:
        UsageError: nothing of the plan runs here.
    """
    state = _Measurement(folder, manifest, plan, budget, image_gflop(folder, manifest))
    if not state.ways:
        raise UsageError(
            f"none of {', '.join(plan.engines)} runs a graph of this bundle in {', '.join(plan.precisions)}; see what "
            "it holds: atd list"
        )
    state.answer(known)
    state.find_limits()
    state.weigh()
    images = list(known)
    for place, tasks in enumerate(plan.tasks):
        state.time(tasks, images, 1 / (len(plan.tasks) - place), always=not place)
    return Bench(
        FORMAT_VERSION,
        manifest.backbone.name,
        state.image_gflop,
        machine,
        f"{now():%Y-%m-%d %H:%M} UTC",
        round(budget.passed, 1),
        tuple(state.ran),
        tuple(state.answered),
        tuple(Limit(*key, round(value, 1)) for key, value in state.limits.items()),
        tuple(dict.fromkeys(state.left_out)),
    )


def image_gflop(folder: Path, manifest: Manifest) -> float | None:
    """Return 10^9 operations of one image, None where no graph of the bundle tells."""
    for graph in manifest.graphs:
        if graph.precision in FLOATS:
            flop = image_flop(bundle.read_graph(folder, graph), manifest.backbone)
            return None if flop is None else round(flop / 1e9, 3)
    return None


@dataclass
class _Measurement:
    """A measurement under way."""

    folder: Path
    manifest: Manifest
    plan: Plan
    budget: Budget
    image_gflop: float | None
    ran: list[Ran] = field(default_factory=list)
    answered: list[Answered] = field(default_factory=list)
    limits: dict[tuple[str, Precision], float] = field(default_factory=dict)
    memory: dict[tuple[Way, int, int], float] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        plan = self.plan
        self.ways = {
            Way(form, setup.engine, setup.precision): Setup(setup.engine, setup.precision, plan.device, plan.threads)
            for form in plan.forms
            for setup in setups(self.manifest, form, plan.engines, plan.precisions, plan.device)
        }

    def answer(self, known: Sequence[Known]) -> None:
        """Compare every way's answers with torch's; a way that does not open is dropped."""
        wanted = list(self.ways.items())
        for place, (way, setup) in enumerate(wanted):
            self.budget.say(f"answers, {place + 1} of {len(wanted)}")
            try:
                found = self._agreement(way, setup, known)
            except AtdError as error:
                self._leave_out(way.words, str(error))
                del self.ways[way]
                continue
            if found is not None:
                self.answered.append(Answered(way, found.images, found.same, found.max_abs, found.of_tolerance))
        if not self.ways:
            raise EngineError(f"nothing of this bundle runs here: {self.left_out[0]}")

    def _agreement(self, way: Way, setup: Setup, known: Sequence[Known]) -> Agreement | None:
        """Ask about all samples; merged graphs one after another, since there may be many."""
        opener = Opener(self.folder, self.manifest, setup.options)
        parts = [[entry] for entry in known] if way.form == MERGED else [list(known)] if known else []
        if not parts:
            open_records(opener, self.manifest.tasks[:1], way.form).close()
            return None
        found = []
        for part in parts:
            records: list[TaskRecord] = [entry.record for entry in part]
            with contextlib.closing(open_records(opener, records, way.form)) as session:
                found.append(agreement(session, part, setup.precision))
        return joined(found)

    def find_limits(self) -> None:
        """Measure what each engine does at most in each precision."""
        wanted = {(way.engine, way.precision): setup for way, setup in self.ways.items()}
        for place, (key, setup) in enumerate(wanted.items()):
            self.budget.say(f"limits, {place + 1} of {len(wanted)}")
            share = LIMITS_SHARE / (len(wanted) - place)
            side = SIDE if self.plan.device in ("auto", "cpu") else GPU_SIDE
            try:
                found = measure_ceiling(setup.options, self.budget.enough(share), self.budget.clock, side)
                self.limits[key] = found / 1e9
            except AtdError as error:
                self._leave_out(f"the limit of {setup.words}", str(error))

    def weigh(self) -> None:
        """Measure memory in processes of their own, few tasks and many in turn, until their share of time is over."""
        end = self.budget.passed + MEMORY_SHARE * self.budget.left
        wanted = [(tasks, way) for tasks in self.plan.tasks for way in self.ways]
        for place, (tasks, way) in enumerate(wanted):
            if place and self.budget.passed >= end:
                missing = len(wanted) - place
                self.left_out.append(f"memory of {missing} of {len(wanted)}: time was up, give --time more")
                return
            self.budget.say(f"memory, {place + 1} of {len(wanted)}")
            setup = self.ways[way]
            question = Question(
                str(self.folder),
                way.form,
                setup.engine,
                str(setup.precision),
                setup.device,
                setup.threads,
                tasks,
                self.plan.batches,
            )
            try:
                for batch, found in zip(self.plan.batches, measure_memory(question), strict=True):
                    self.memory[way, tasks, batch] = found
            except EngineError as error:
                self._leave_out(f"memory of {way.words} with {tasks} tasks", str(error))

    def time(self, tasks: int, known: list[Known], share: float, always: bool) -> None:
        """Time every way with so many tasks, all batches in the same rounds."""
        if not always and not self.budget.left:
            self._leave_out(f"times with {tasks} tasks", "time was up, give --time more")
            return
        self.budget.say(f"times with {tasks} task{'s' if tasks > 1 else ''}")
        images = images_for(known, max(self.plan.batches), self.manifest.preprocess.size)
        with contextlib.ExitStack() as stack:
            runs: dict[tuple[Way, int], Run] = {}
            for way, setup in self.ways.items():
                # Rows of a batch reach no more models than it has rows, so the others need not be open.
                held = min(tasks, max(self.plan.batches)) if way.form == MERGED else tasks
                try:
                    session = open_tasks(self.folder, self.manifest, way.form, setup.options, held)
                except AtdError as error:
                    self._leave_out(f"{way.words} with {tasks} tasks", str(error))
                    continue
                stack.callback(session.close)
                runs |= {
                    (way, batch): asking(session, images[:batch])
                    for batch in self.plan.batches
                    if session.engine.limits.takes(batch)
                }
            seconds = time_rounds(runs, self.budget.enough(share), self.budget.clock)
        for (way, batch), taken in seconds.items():
            self.ran.append(self._ran(way, tasks, batch, taken))

    def _ran(self, way: Way, tasks: int, batch: int, seconds: Sequence[float]) -> Ran:
        limit = self.limits.get((way.engine, way.precision))
        milliseconds = [1e3 * value for value in seconds]
        spread = Spread.of(milliseconds)
        known = limit is not None and self.image_gflop is not None
        ideal_ms = 1e3 * batch * (self.image_gflop or 0) / (limit or 1)
        return Ran(
            way,
            tasks,
            batch,
            len(seconds),
            spread,
            p99(milliseconds),
            self.memory.get((way, tasks, batch)),
            disk_bytes(self.folder, self.manifest, way.form, self.ways[way].options, tasks),
            ideal_ms / spread.median if known else None,
        )

    def _leave_out(self, what: str, why: str) -> None:
        self.left_out.append(f"{what}: {why}")
