"""`--rank auto` on real datasets: the rank it finds, and its time in multiples of a run with a given rank.

python -m benchmarks.ranks.auto --data DIR --weights FILE

DIR and FILE are those of benchmarks.training.accuracy, and so are the runs: `atd train` with its defaults, in a process
of its own, whose processor time is compared. Each dataset is trained with `--rank 8`, with `--rank auto` and with
`--rank auto:fast`. Runs that the results file holds are not repeated unless --again is given, so an interrupted
benchmark goes on where it stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import sys
from pathlib import Path
from typing import Any

from adaptertune_deploy.bench.machine import describe_machine
from benchmarks import documents
from benchmarks.ranks.auto_page import GIVEN, page
from benchmarks.training.accuracy import train
from benchmarks.training.jobs import add_jobs, as_they_end, threads_of

RESULTS, PAGE = documents.results("auto_rank"), documents.page("auto-rank")
DATASETS = ("pets", "flowers", "cifar10", "pets-3breeds")
RANKS = (GIVEN, "auto", "auto:fast")
WANTED = [(name, rank) for name in DATASETS for rank in RANKS]


def write(runs: list[dict[str, Any]]) -> None:
    """Write the results file and the page that is made from it."""
    runs = sorted(runs, key=lambda run: WANTED.index((run["dataset"], run["asked"])))
    documents.write(RESULTS, {"runs": runs})
    PAGE.write_text(page(runs, WANTED))


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing, writing after every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--datasets", default=",".join(DATASETS))
    parser.add_argument("--ranks", default=",".join(RANKS), help="which of these to train with, each dataset")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="run also what the results file holds already")
    add_jobs(parser)
    given = parser.parse_args(arguments)
    runs: list[dict[str, Any]] = []
    if RESULTS.exists() and not given.again:
        runs = json.loads(RESULTS.read_text())["runs"]
    done = {(run["dataset"], run["asked"]) for run in runs}
    machine, threads = dataclasses.asdict(describe_machine()), threads_of(given.jobs)
    data, weights = given.data.resolve(), given.weights.resolve()

    def trained(name: str, rank: str) -> dict[str, Any]:
        found = train(name, given.seed, data, weights, threads, ("--rank", rank))
        return found | {"asked": rank, "machine": machine}

    names, ranks = given.datasets.split(","), given.ranks.split(",")
    asked = [run for run in WANTED if run not in done and run[0] in names and run[1] in ranks]
    for run in as_they_end([functools.partial(trained, *run) for run in asked], given.jobs):
        runs.append(run)
        write(runs)
    write(runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
