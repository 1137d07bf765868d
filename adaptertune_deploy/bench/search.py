"""Look at the ways to serve a bundle on this machine, then let the best of them run side by side.

Everything at once would not fit into memory nor into a minute, and times taken minutes apart differ by what else the
machine does. So each engine and precision is opened alone, compared with torch and timed briefly at the untuned
server's batch; then the best few with other numbers of threads, and of those the best few at other batches. What came
out best runs with the untuned server in common rounds, and only these times decide.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from adaptertune_deploy.bench.agreement import Agreement
from adaptertune_deploy.bench.budget import Budget
from adaptertune_deploy.bench.choose import NOISE
from adaptertune_deploy.bench.interleaved import Run, time_rounds
from adaptertune_deploy.bench.setups import Setup
from adaptertune_deploy.bench.spread import Spread, ratios
from adaptertune_deploy.bench.tried import Checked, Evidence, LeftOut, Tried
from adaptertune_deploy.core.errors import AtdError, EngineError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines.limits import Limits

BEST = 3  # that go on from one stage of the first look to the next
FINALISTS = 4  # besides the untuned server
# Shares of the whole time at which the stages of the first look end.
ENGINES_END, THREADS_END, BATCHES_END = 0.35, 0.5, 0.65
LOOKS = 2  # rounds of a first look at least
WORSE = 2  # batches in a row that bring fewer images a second end the search for larger ones


class Trial(Protocol):
    """A bundle that is open in one way.

    Attributes:
        limits: how many rows a run takes.
    """

    limits: Limits

    def check(self) -> Agreement | None:
        """Compare its answers with torch's; None where none are known."""

    def run(self, batch: int) -> Run:
        """Return how to run so many rows."""

    def close(self) -> None:
        """Release it."""


@dataclass(frozen=True)
class Space:
    """What is searched.

    setups: engines and precisions that may be chosen, with the engine's own number of threads.
    untuned: what a server takes that nobody tuned, whether or not it may be chosen.
    threads: other numbers of threads.
    batches: rows of a run, ascending.
    usual_batch: of the untuned server.
    latency_ms: three of four runs must take no longer.
    """

    setups: tuple[Setup, ...]
    untuned: Setup
    threads: tuple[int, ...]
    batches: tuple[int, ...]
    usual_batch: int
    latency_ms: float | None = None


def search(space: Space, open_trial: Callable[[Setup], Trial], budget: Budget) -> Evidence:
    """Time a space's setups; see above.

    Args:
        space: what to try.
        open_trial: raises AtdError where a setup does not work here.
        budget: its time; the untuned server is always looked at, what comes after the time is left out.

    Returns:
        The evidence; where the untuned server does not work and may not be chosen, the first setup stands for it.

    Raises:
        AtdError: the first of what may be chosen does not work.
    """
    found = _Search(open_trial, budget, space)
    found.look(list(dict.fromkeys([space.untuned, *space.setups])), ENGINES_END)
    others = [replace(setup, threads=count) for count in space.threads if count for setup in found.best_setups()]
    found.look(others, THREADS_END)
    for place, setup in enumerate(found.best_setups()):
        found.grow(setup, 1 / (BEST - place))
    budget.say("the best side by side")
    final = found.side_by_side()
    return Evidence(tuple(found.looked), tuple(final), tuple(found.checked.values()), tuple(found.left_out))


@dataclass
class _Search:
    """A search under way."""

    open: Callable[[Setup], Trial]
    budget: Budget
    space: Space
    looked: list[Tried] = field(default_factory=list)
    checked: dict[tuple[str, Precision], Checked] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.usual_batch = self.space.usual_batch
        self._choices = {(setup.engine, setup.precision) for setup in self.space.setups}

    def look(self, setups: Sequence[Setup], end: float) -> None:
        """Check setups and time them at the untuned server's batch, until a share of the whole time is over."""
        for place, setup in enumerate(setups):
            self.budget.say(f"{setup.engine} {setup.precision}")
            if self._able() and self.budget.passed >= end * self.budget.seconds:
                reason = f"not tried: {self.budget.seconds:g} s were too short; give --time more"
                self.left_out.append(LeftOut(setup.engine, setup.precision, setup.threads, reason))
                continue
            try:
                self._look(setup, self._share(end) / (len(setups) - place))
            except AtdError as error:
                if not self._able() and self._may_be_chosen(setup):
                    raise type(error)(f"{setup.words} {error}") from None
                self.left_out.append(LeftOut(setup.engine, setup.precision, setup.threads, str(error)))

    def _look(self, setup: Setup, share: float) -> None:
        with contextlib.closing(self.open(setup)) as trial:
            if (setup.engine, setup.precision) not in self.checked:
                self._check(setup, trial)
            if not self.looked and not trial.limits.takes(self.usual_batch):
                self.usual_batch = trial.limits.max_rows or 1
            batch = min(self.usual_batch, trial.limits.max_rows or self.usual_batch)
            self._time(setup, trial, batch, share)

    def _check(self, setup: Setup, trial: Trial) -> None:
        """Compare an engine's precision with torch, once for all numbers of threads.

        Raises:
            EngineError: it changes answers, or can't be compared though it is below fp32.
        """
        found = trial.check()
        if found is None:
            if setup.precision is not Precision.FP32:
                raise EngineError("can't be compared with torch's answers: no samples of these tasks are here")
            return
        key = (setup.engine, setup.precision)
        self.checked[key] = Checked(*key, found.images, found.same, found.max_abs, found.of_tolerance)
        if not found.holds:
            raise EngineError(
                f"changes answers: up to {found.max_abs:.1e} from torch's logits, {found.of_tolerance:.1f} times what "
                f"{setup.precision} may; same first class in {found.words}"
            )

    def grow(self, setup: Setup, share: float) -> None:
        """Time a setup at other batches, in ascending order until larger ones bring less."""
        self.budget.say(f"{setup.engine} {setup.precision}")
        best, worse = 0.0, 0
        with contextlib.closing(self.open(setup)) as trial:
            sizes = [batch for batch in self.space.batches if trial.limits.takes(batch)]
            for batch in sizes:
                if self.budget.passed >= BATCHES_END * self.budget.seconds or worse == WORSE:
                    return
                if (setup, batch) not in [(entry.setup, entry.batch) for entry in self.looked]:
                    self._time(setup, trial, batch, self._share(BATCHES_END) * share / len(sizes))
                rate = max(
                    entry.images_per_second for entry in self.looked if (entry.setup, entry.batch) == (setup, batch)
                )
                best, worse = max(best, rate), worse + 1 if rate < (1 - NOISE) * best else 0

    def side_by_side(self) -> list[Tried]:
        """Return the untuned server and the best of what was looked at, timed in common rounds.

        The quickest run is among them where a run may not take longer than so much: what was quick enough by itself
        may be too slow there.
        """
        latency = self.space.latency_ms
        able = [entry for entry in self._able() if latency is None or entry.milliseconds.high <= latency]
        best = [(entry.setup, entry.batch) for entry in sorted(able, key=lambda entry: -entry.images_per_second)]
        quickest = min(self._able(), key=lambda entry: entry.milliseconds.high)
        sure = [] if latency is None else [(quickest.setup, quickest.batch)]
        untuned = (self.looked[0].setup, self.usual_batch)
        wanted = list(dict.fromkeys([untuned, *sure, *best]))[: FINALISTS + 1]
        with contextlib.ExitStack() as stack:
            opened = {
                setup: stack.enter_context(contextlib.closing(self.open(setup)))
                for setup in dict.fromkeys(setup for setup, _ in wanted)
            }
            runs = {(setup, batch): opened[setup].run(batch) for setup, batch in wanted}
            seconds = time_rounds(runs, self.budget.enough(1.0), self.budget.clock)
        apiece = {key: [value / key[1] for value in taken] for key, taken in seconds.items()}
        return [
            replace(_tried(*key, taken), gain=ratios(apiece[untuned], apiece[key])) for key, taken in seconds.items()
        ]

    def best_setups(self) -> list[Setup]:
        """Return the setups with the most images a second, best first."""
        ranked = sorted(self._able(), key=lambda entry: -entry.images_per_second)
        return list(dict.fromkeys(entry.setup for entry in ranked))[:BEST]

    def _able(self) -> list[Tried]:
        """Return what was looked at and may be chosen."""
        return [entry for entry in self.looked if self._may_be_chosen(entry.setup)]

    def _may_be_chosen(self, setup: Setup) -> bool:
        return (setup.engine, setup.precision) in self._choices

    def _time(self, setup: Setup, trial: Trial, batch: int, share: float) -> None:
        enough = self.budget.enough(share, LOOKS)
        seconds = time_rounds({batch: trial.run(batch)}, enough, self.budget.clock)[batch]
        self.looked.append(_tried(setup, batch, seconds))

    def _share(self, end: float) -> float:
        """Return which share of what is left a stage has that ends at a share of the whole time."""
        remains = end * self.budget.seconds - self.budget.passed
        return max(0.0, remains) / self.budget.left if self.budget.left else 0.0


def _tried(setup: Setup, batch: int, seconds: Sequence[float]) -> Tried:
    milliseconds = Spread.of([1e3 * value for value in seconds])
    return Tried(setup.engine, setup.precision, setup.device, setup.threads, batch, len(seconds), milliseconds)
