"""Steps of training with OpenMP's threads that look long for the next part, as libgomp's own do, and with brief ones.

    python -m benchmarks.training.waiting --data DIR --weights FILE

Two trainings with each kind of waiting, in processes of their own: one of them alone, then both at once, in turn, round
by round. DIR and weights as in benchmarks.training.speed, whose page has what is found. Wants a quiet machine; about
five minutes on two cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from operator import le
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from adaptertune_deploy.bench.interleaved import time_rounds
from adaptertune_deploy.bench.machine import describe_machine
from adaptertune_deploy.bench.spread import Spread, ratios
from adaptertune_deploy.core import openmp
from benchmarks.training import speed
from benchmarks.training.speed_page import RESULTS

LONG_LOOKS = 300_000  # libgomp's own, where it knows of no more threads than cores
ALONE, TOGETHER = "alone", "together"


class Training:
    """A process that takes steps when it is asked to."""

    def __init__(self, command: Sequence[str], looks: int) -> None:
        """Start it; its threads look that often for the next part before they sleep."""
        kept = {name: value for name, value in os.environ.items() if name != openmp.POLICY}
        environment = {**kept, openmp.LOOKS: str(looks)}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        self.wait()

    def ask(self, steps: int) -> None:
        """Have it begin that many steps."""
        assert self._process.stdin is not None
        print(steps, file=self._process.stdin, flush=True)

    def wait(self) -> None:
        """Return when it has taken them."""
        assert self._process.stdout is not None
        if not self._process.stdout.readline():
            self._process.communicate()
            raise RuntimeError(f"a training ended with exit code {self._process.returncode}")

    def __enter__(self) -> Training:
        """Return it."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the process."""
        self._process.communicate()


def take_steps(given: argparse.Namespace) -> None:
    """Be such a process: take as many steps as each line of the input says, and answer with a line."""
    with ExitStack() as stack:
        loop = speed.ProductLoop(speed.prepared(given, "all", 0), stack)
        loop.step()
        print("ready", flush=True)
        for line in sys.stdin:
            for _ in range(int(line)):
                loop.step()
            print("done", flush=True)


def measure(command: Sequence[str], rounds: int, steps: int) -> dict[str, Any]:
    """Return the times of a step by how threads wait, alone and in two trainings at once, and their ratios."""
    with ExitStack() as stack:
        trainings = {
            looks: [stack.enter_context(Training(command, looks)) for _ in range(2)]
            for looks in (LONG_LOOKS, openmp.FEW_LOOKS)
        }
        runs = {
            (looks, which): partial(_steps, both if which == TOGETHER else both[:1], steps)
            for looks, both in trainings.items()
            for which in (ALONE, TOGETHER)
        }
        seconds = time_rounds(runs, partial(le, rounds))
    rows = [
        {
            "looks": looks,
            "milliseconds": {
                which: dataclasses.asdict(Spread.of([1e3 * value / steps for value in seconds[looks, which]]))
                for which in (ALONE, TOGETHER)
            },
            "faster": {
                which: dataclasses.asdict(ratios(seconds[LONG_LOOKS, which], seconds[looks, which]))
                for which in (ALONE, TOGETHER)
            },
        }
        for looks in trainings
    ]
    return {
        "settings": {"rounds": rounds, "steps": steps, "threads": torch.get_num_threads()},
        "rows": rows,
        "machine": dataclasses.asdict(describe_machine()),
    }


def _steps(trainings: Sequence[Training], steps: int) -> None:
    for training in trainings:
        training.ask(steps)
    for training in trainings:
        training.wait()


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the page."""
    words = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=4, help="steps of each training in a round")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--asked", action="store_true", help="be one of the trainings, which steps when it is asked")
    given = parser.parse_args(words)
    if given.asked:
        take_steps(given)
        return 0
    found = measure([sys.executable, "-m", "benchmarks.training.waiting", *words, "--asked"], given.rounds, given.steps)
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results.setdefault(describe_machine().processor, {})["waiting"] = found
    speed.write(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
