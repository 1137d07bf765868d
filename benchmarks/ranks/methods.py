"""Methods on real datasets: full fine-tuning, a searched rank and the fastest placement, beside adapters by default.

python -m benchmarks.ranks.methods --data DIR --weights FILE

DIR and FILE are those of benchmarks.training.accuracy, and so are the runs, with seed 0. What another benchmark has
trained is not trained again: `--rank 8` is taken from the results of benchmarks.training.accuracy, `--rank auto` from
those of benchmarks.ranks.auto where its datasets are among these. Runs that the results file holds are not repeated
unless --again is given, so an interrupted benchmark goes on where it stopped.
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
from benchmarks.ranks import auto as auto_rank
from benchmarks.ranks.methods_page import AUTO, FULL, GIVEN, LAST, NAMES, page
from benchmarks.training import accuracy
from benchmarks.training.accuracy import DATASETS, train
from benchmarks.training.jobs import add_jobs, as_they_end, threads_of

RESULTS, PAGE = documents.results("methods"), documents.page("methods")
OPTIONS = {
    LAST: ("--placement", "last:4", "--views", "3"),
    AUTO: ("--rank", "auto"),
    FULL: ("--method", "full"),
}
SEED = 0
WANTED = [(name, way) for name in DATASETS for way in OPTIONS if way != AUTO or name not in auto_rank.DATASETS]


def write(runs: list[dict[str, Any]]) -> None:
    """Write the results file, and the page that is made from it and from the results of the two other benchmarks."""
    documents.write(RESULTS, {"runs": sorted(runs, key=_place)})
    PAGE.write_text(page(together(runs), list(DATASETS)))


def together(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return these runs and those of the two other benchmarks that belong beside them, each with its "way"."""
    given = [run | {"way": GIVEN} for run in _runs(accuracy.RESULTS) if run["seed"] == SEED]
    searched = [run | {"way": AUTO} for run in _runs(auto_rank.RESULTS) if run["asked"] == AUTO]
    return sorted([*given, *searched, *runs], key=_place)


def _runs(results: Path) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = json.loads(results.read_text())["runs"] if results.exists() else []
    return runs


def _place(run: dict[str, Any]) -> tuple[int, int]:
    return list(DATASETS).index(run["dataset"]), list(NAMES).index(run["way"])


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing, writing after every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--datasets", default=",".join(DATASETS))
    parser.add_argument("--again", action="store_true", help="run also what the results file holds already")
    add_jobs(parser)
    given = parser.parse_args(arguments)
    runs = [] if given.again else _runs(RESULTS)
    done = {(run["dataset"], run["way"]) for run in runs}
    machine = dataclasses.asdict(describe_machine())
    data, weights, threads = given.data.resolve(), given.weights.resolve(), threads_of(given.jobs)

    def trained(name: str, way: str) -> dict[str, Any]:
        return train(name, SEED, data, weights, threads, OPTIONS[way]) | {"way": way, "machine": machine}

    asked = [run for run in WANTED if run not in done and run[0] in given.datasets.split(",")]
    for run in as_they_end([functools.partial(trained, *run) for run in asked], given.jobs):
        runs.append(run)
        write(runs)
    write(runs)
    return 0


if __name__ == "__main__":
    sys.exit(main())
