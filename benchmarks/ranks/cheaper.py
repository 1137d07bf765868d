"""Cheaper ways to search a rank, where the right one is known: what they pick beside the search of `--rank auto`.

    python -m benchmarks.ranks.cheaper

The problems, the rule and the order of the search are benchmarks.ranks.planted's. "Half" and "a quarter" train every
rank on a schedule of its own of that length. "Losers stopped" looks at a rank after half of the whole schedule and ends
it there, for half of the cost, when it lies two standard errors above the best one at that moment. "Nested" is one
training of nested widths (benchmarks.ranks.nested_widths, in turn) and picks among its widths by the same rule, so that
rank 64 is not among them. The cost is of the search alone, in trainings of one rank on the whole schedule.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor

from adaptertune_deploy.train.comparison.gate import compared_losses
from adaptertune_deploy.train.rank.rule import HEAD_ONLY, Losses, best, difference, following, pick
from benchmarks import documents
from benchmarks.ranks import nested_widths
from benchmarks.ranks.planted import HELD_OUT, MOST, STEPS, Case, Problem, cases, draw, keep, learn

RESULTS = documents.results("cheaper_ranks")
SEED = 0
BEHIND = 2.0  # standard errors


@dataclass(frozen=True)
class Found:
    """What a way picked, and what that cost in trainings of one rank; the head alone costs nothing."""

    picked: int
    cost: float


def _losses(problem: Problem, logits: Tensor) -> Losses:
    targets = problem.labels[problem.train : problem.train + HELD_OUT]
    return compared_losses(logits[:HELD_OUT].numpy(), targets.numpy())


def search(problem: Problem, steps: int) -> Found:
    """Search with a schedule of so many steps for every rank."""

    def tried(rank: int) -> Losses:
        return _losses(problem, learn(problem, rank, SEED, steps, (steps,))[steps])

    losses = {HEAD_ONLY: tried(HEAD_ONLY)}
    while (rank := following(losses, MOST)) is not None:
        losses[rank] = tried(rank)
    return Found(pick(losses), (len(losses) - 1) * steps / STEPS)


def stop_losers(problem: Problem) -> Found:
    """Search, and end a rank after half of its steps where it is far behind the best one at that moment.

    Its losses at the end, which nobody knows, are taken for those of that rank and the distance between them then.
    """
    half: dict[int, Losses] = {}
    whole: dict[int, Losses] = {}
    ended: set[int] = set()
    while (rank := HEAD_ONLY if not whole else following(whole, MOST)) is not None:
        looks = learn(problem, rank, SEED, STEPS, (STEPS // 2, STEPS))
        half[rank], end = (_losses(problem, looks[step]) for step in (STEPS // 2, STEPS))
        least = best({other: losses for other, losses in half.items() if other not in ended})
        above, error = difference(half[rank], half[least])
        if least in whole and above > BEHIND * error:
            ended.add(rank)
            end = whole[least] + half[rank] - half[least]
        whole[rank] = end
    cost = sum(0.5 if rank in ended else 1.0 for rank in whole if rank != HEAD_ONLY)
    return Found(pick(whole), cost)


def nested(problem: Problem) -> Found:
    """Train nested widths once, and pick among them and the head alone."""
    student = nested_widths.train(problem, nested_widths.WAYS["in turn"])
    inputs = problem.inputs[problem.train : problem.train + HELD_OUT]
    losses = {HEAD_ONLY: _losses(problem, learn(problem, HEAD_ONLY, SEED, STEPS, (STEPS,))[STEPS])}
    with torch.no_grad():
        for width in nested_widths.WIDTHS:
            losses[width] = _losses(problem, nested_widths.logits(student, inputs, torch.tensor(width)))
    return Found(pick(losses), 1.0)


WAYS: dict[str, Callable[[Problem], Found]] = {
    "whole": lambda problem: search(problem, STEPS),
    "half": lambda problem: search(problem, STEPS // 2),
    "a quarter": lambda problem: search(problem, STEPS // 4),
    "losers stopped": stop_losers,
    "nested": nested,
}


def compare(case: Case) -> dict[str, Found]:
    """Return what every way picks in a case."""
    problem = draw(case)
    return {name: way(problem) for name, way in WAYS.items()}


def facts_of(case: Case, found: Mapping[str, Found]) -> dict[str, Any]:
    """Return a case's part of the results."""
    return {
        "case": dataclasses.asdict(case),
        "found": {name: dataclasses.asdict(one) for name, one in found.items()},
    }


def main(arguments: list[str] | None = None) -> int:
    """Run all cases and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(arguments)
    torch.set_num_threads(1)
    console = Console()
    results = []
    for case in track(cases(), "cases", console=Console(stderr=True)):
        found = compare(case)
        picked = ", ".join(f"{name} {one.picked} for {one.cost:g}" for name, one in found.items())
        console.print(f"planted {case.rank}, {case.images:,} images, seed {case.seed}: {picked}")
        results.append(facts_of(case, found))
    keep(RESULTS, {"cases": results}, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
