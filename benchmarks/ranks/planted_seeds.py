"""How much the seed matters to the search of `--rank auto`: ten seeds on problems whose rank is planted.

    python -m benchmarks.ranks.planted_seeds

The problem and the search are those of benchmarks.ranks.planted. The data stay as they are; a seed gives every student
of its search another initialisation and another order of the images. Two picks are neighbours where an octave lies
between them.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.progress import track

from adaptertune_deploy.train.rank.rule import HEAD_ONLY, OCTAVES, pick
from benchmarks import documents
from benchmarks.ranks.planted import Case, draw, keep, search

RESULTS = documents.results("planted_seeds")
SEEDS = 10
CASES = (Case(4, 4_000, 1.0, 1), Case(8, 4_000, 1.0, 1), Case(16, 20_000, 1.0, 1), Case(0, 4_000, 1.0, 1))


@dataclass(frozen=True)
class Picks:
    """What the search picked in a case, one rank a seed, and how many ranks it tried for that."""

    case: Case
    picked: tuple[int, ...]
    tried: tuple[int, ...]

    @property
    def centre(self) -> int:
        """The rank to which most picks are equal or neighbours, the smallest of several."""
        return max(sorted((HEAD_ONLY, *OCTAVES)), key=lambda rank: near(self.picked, rank))

    @property
    def agreeing(self) -> int:
        """Seeds whose picks are equal to the centre or its neighbours."""
        return near(self.picked, self.centre)


def near(picked: Sequence[int], rank: int) -> int:
    """Return how many picks are a rank or its neighbours; the head alone is one below rank 1."""
    ranks = (HEAD_ONLY, *OCTAVES)
    return sum(abs(ranks.index(one) - ranks.index(rank)) <= 1 for one in picked)


def repeat(case: Case, seeds: Sequence[int]) -> Picks:
    """Search once a seed."""
    problem = draw(case)
    found = [search(problem, seed) for seed in track(seeds, f"planted {case.rank}", console=Console(stderr=True))]
    return Picks(case, tuple(map(pick, found)), tuple(len(tried) - 1 for tried in found))


def main(arguments: list[str] | None = None) -> int:
    """Run all cases, and write the results of a whole run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many a case")
    count = parser.parse_args(arguments).seeds
    console = Console()
    torch.set_num_threads(1)
    found = [repeat(case, range(count)) for case in CASES]
    for one in found:
        console.print(
            f"planted {one.case.rank}, {one.case.images} images: picked {one.picked}; {one.agreeing} of {count} are "
            f"{one.centre} or a neighbour"
        )
    if count == SEEDS:
        facts = {
            "cases": [dataclasses.asdict(one) | {"centre": one.centre, "agreeing": one.agreeing} for one in found],
        }
        keep(RESULTS, facts, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
