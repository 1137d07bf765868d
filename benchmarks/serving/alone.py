"""The engine and the preprocessing by themselves, in a process that nothing else runs in.

    python -m benchmarks.serving.alone BUNDLE PHOTOGRAPHS       a folder of JPEG files

Each line of its input asks for one measurement, {"what": "engine", "rows": 8, "seconds": 1} or {"what": "images",
"seconds": 1}; each line of its output answers one: images, and the seconds and processor seconds that they took.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import IO

import numpy as np

from adaptertune_deploy.core.images.preprocess import preprocess
from adaptertune_deploy.engines.options import ON_CPU
from adaptertune_deploy.serve.sessions.session import Session, open_session
from adaptertune_deploy.serve.sessions.warming import warm_up

ENGINE, IMAGES = "engine", "images"


@dataclass(frozen=True)
class Taken:
    """images: how many. seconds, cpu_s: for all of them."""

    images: int
    seconds: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Milliseconds of processor time an image."""
        return 1e3 * self.cpu_s / self.images


class Alone:
    """Asks such a process; see the module."""

    def __init__(self, asking: IO[str], answers: IO[str]) -> None:
        """Take its input and output."""
        self._asking, self._answers = asking, answers

    def engine(self, rows: int, seconds: float) -> Taken:
        """Let the engine run batches one after another."""
        return self._ask({"what": ENGINE, "rows": rows, "seconds": seconds})

    def images(self, seconds: float) -> Taken:
        """Decode and prepare images one after another."""
        return self._ask({"what": IMAGES, "seconds": seconds})

    def _ask(self, question: dict[str, object]) -> Taken:
        print(json.dumps(question), file=self._asking, flush=True)
        line = self._answers.readline()
        if not line:
            raise RuntimeError("the process that measures the engine ended")
        return Taken(**json.loads(line))


@contextlib.contextmanager
def alone(bundle: Path, photographs: Path) -> Iterator[Alone]:
    """Run the process for the length of a `with` block."""
    command = [sys.executable, "-m", "benchmarks.serving.alone", str(bundle), str(photographs)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        yield Alone(child.stdin, child.stdout)
        child.stdin.close()


def main(bundle: str, photographs: str) -> None:
    """Answer until the input ends."""
    encoded = itertools.cycle(path.read_bytes() for path in sorted(Path(photographs).iterdir()))
    with contextlib.closing(open_session(Path(bundle), options=ON_CPU)) as session:
        warm_up(session, 8)
        for line in sys.stdin:
            asked = json.loads(line)
            if asked["what"] == ENGINE:
                taken = _measured(_batch(session, asked["rows"]), asked["rows"], asked["seconds"])
            else:
                taken = _measured(lambda: preprocess(next(encoded), session.preprocess), 1, asked["seconds"])
            print(json.dumps(taken), flush=True)


def _batch(session: Session, rows: int) -> Callable[[], object]:
    """Return a run of rows that differ in image and task."""
    images = np.random.default_rng(0).normal(size=(rows, 3, *session.preprocess.size)).astype(np.float32)
    keys = list(itertools.islice(itertools.cycle(session.tasks), rows))
    image, task = np.arange(rows, dtype=np.int64), np.array(keys, dtype=np.int64)
    return lambda: session.run(images, image, task)


def _measured(work: Callable[[], object], images: int, seconds: float) -> dict[str, float]:
    work()
    times, began, cpu = 0, perf_counter(), process_time()
    while perf_counter() - began < seconds:
        work()
        times += 1
    return {"images": times * images, "seconds": perf_counter() - began, "cpu_s": process_time() - cpu}


if __name__ == "__main__":
    main(*sys.argv[1:])
