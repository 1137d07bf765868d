"""Accuracy of the default training on real datasets: the careful probe, adapters of rank 8, and what the gate ships.

python -m benchmarks.training.accuracy --data DIR --weights FILE

DIR holds pets/, pets-3breeds/, flowers/, cifar10/ and tiny-imagenet/ in the layouts that `atd train` reads; weights are
those of DeiT-Tiny. Every run is `atd train` with its defaults and a seed, in a process of its own, one on each core
unless --jobs says otherwise: a training on one thread wastes less than one on two. Runs that the results file holds are
not repeated unless --again is given, so an interrupted benchmark goes on where it stopped.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from adaptertune_deploy.bench.machine import describe_machine
from benchmarks import documents
from benchmarks.training.accuracy_page import page
from benchmarks.training.jobs import add_jobs, as_they_end, threads_of
from benchmarks.training.subsets import few_of_each, unequal

RESULTS, PAGE = documents.results("accuracy"), documents.page("accuracy")
BACKBONE = "deit_tiny_patch16_224.fb_in1k"
FEW = 5
# name -> options of `atd train` that name its images, from the data folder and a scratch folder
DATASETS: dict[str, Callable[[Path, Path], list[str]]] = {
    "pets": lambda data, _: ["--dataset", "pets", "--data-dir", str(data / "pets")],
    "pets-3breeds": lambda data, _: ["--dataset", "pets", "--data-dir", str(data / "pets-3breeds")],
    "flowers": lambda data, _: ["--dataset", "flowers", "--data-dir", str(data / "flowers"), "--allow-missing"],
    "cifar10": lambda data, _: ["--dataset", str(data / "cifar10")],
    "tiny-imagenet-50": lambda data, _: ["--dataset", "tinyimagenet", "--data-dir", str(data / "tiny-imagenet")],
    "cifar10-unequal": lambda data, scratch: ["--dataset", str(unequal(data / "cifar10", scratch / "unequal"))],
    "cifar10-5-a-class": lambda data, scratch: ["--dataset", str(few_of_each(data / "cifar10", scratch / "few", FEW))],
}
SEEDS = 3
WANTED = [(name, seed) for seed in range(SEEDS) for name in DATASETS]


def train(name: str, seed: int, data: Path, weights: Path, threads: int, options: Sequence[str] = ()) -> dict[str, Any]:
    """Train one task with further options, and return what `atd train --json` prints, without paths of this machine."""
    with tempfile.TemporaryDirectory() as folder:
        return _train(name, seed, data, weights, threads, Path(folder), options)


def _train(
    name: str, seed: int, data: Path, weights: Path, threads: int, scratch: Path, options: Sequence[str]
) -> dict[str, Any]:
    print(f"{name}, seed {seed}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "adaptertune_deploy", "train", *DATASETS[name](data, scratch), "--json"]
    command += ["--task", name, "--backbone", BACKBONE, "--weights", str(weights)]
    command += ["--out", str(scratch / "adapters"), "--seed", str(seed), *options]
    said, processor_s = _run(command, os.environ | {"OMP_NUM_THREADS": str(threads)})
    facts: dict[str, Any] = json.loads(said)
    for key in ("folder", "curve"):
        facts.pop(key, None)
    return facts | {"dataset": name, "seed": seed, "threads": threads, "processor_s": round(processor_s, 1)}


def _run(command: list[str], environment: dict[str, str]) -> tuple[bytes, float]:
    """Return what a command prints, and the processor seconds of it and its children.

    Raises:
        RuntimeError: it failed.
    """
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
        assert child.stdout is not None
        said = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {child.returncode}")
    return said, usage.ru_utime + usage.ru_stime


def write(runs: list[dict[str, Any]]) -> None:
    """Write the results file and the page that is made from it."""
    documents.write(RESULTS, {"runs": runs})
    PAGE.write_text(page(runs, WANTED))


def main() -> None:
    """Run what is missing, writing after every run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--datasets", default=",".join(DATASETS))
    parser.add_argument("--seeds", type=int, default=SEEDS, help="seeds 0, 1, ... of each dataset")
    parser.add_argument("--again", action="store_true", help="run also what the results file holds already")
    add_jobs(parser)
    given = parser.parse_args()
    runs: list[dict[str, Any]] = []
    if RESULTS.exists() and not given.again:
        runs = json.loads(RESULTS.read_text())["runs"]
    done = {(run["dataset"], run["seed"]) for run in runs}
    wanted = [(name, seed) for seed in range(given.seeds) for name in given.datasets.split(",")]
    machine = dataclasses.asdict(describe_machine())
    data, weights, threads = given.data.resolve(), given.weights.resolve(), threads_of(given.jobs)
    trainings = [functools.partial(train, *run, data, weights, threads) for run in wanted if run not in done]
    for run in as_they_end(trainings, given.jobs):
        runs.append(run | {"machine": machine})
        write(sorted(runs, key=_place))
    write(sorted(runs, key=_place))


def _place(run: dict[str, Any]) -> tuple[int, int]:
    return list(DATASETS).index(run["dataset"]), run["seed"]


if __name__ == "__main__":
    main()
