"""What a process takes that holds some tasks of a bundle and has run: asked of a fresh process each time.

    python -m adaptertune_deploy.bench.memory QUESTION      QUESTION and the answer are JSON

A process that has run something else keeps what its allocator got, so its memory says little of what is open now.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from adaptertune_deploy.bench.setups import Setup
from adaptertune_deploy.core.errors import AtdError, EngineError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.engines import heap

PATIENCE = 600.0  # seconds


@dataclass(frozen=True)
class Question:
    """A bundle's tasks in one form on one engine, and the batches that are run one after another."""

    bundle: str
    form: str
    engine: str
    precision: str
    device: str
    threads: int
    tasks: int
    batches: tuple[int, ...]

    @property
    def setup(self) -> Setup:
        """How the graphs are run."""
        return Setup(self.engine, Precision(self.precision), self.device, self.threads)


def measure_memory(question: Question) -> tuple[float, ...]:
    """Return the resident memory in MB (10^6 bytes) of a fresh process after each batch.

    Raises:
        EngineError: the process refused, crashed or hung.
    """
    command = [sys.executable, "-m", "adaptertune_deploy.bench.memory", json.dumps(dataclasses.asdict(question))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
        answer = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
    except (subprocess.TimeoutExpired, ValueError, IndexError):
        raise EngineError("a process that measures memory gave no answer") from None
    if "mb" not in answer:
        how = answer.get("refused", f"a process that measures memory ended with {done.returncode}")
        raise EngineError(str(how))
    return tuple(answer["mb"])


def resident_mb(process: int | str = "self") -> float:
    """Return the resident memory of a process in MB (10^6 bytes), from /proc; 0 where that does not tell."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    return int(found[1]) * 1024 / 1e6 if found else 0.0


def answer(question: Question) -> list[float]:
    """Open the tasks in this process, run each batch, and return the memory after each."""
    from adaptertune_deploy.bench.known import images_for
    from adaptertune_deploy.bench.subject import asking, open_tasks
    from adaptertune_deploy.core.bundle.folder import read_manifest

    folder = Path(question.bundle)
    manifest = read_manifest(folder)
    images = images_for([], max(question.batches), manifest.preprocess.size)
    found = []
    with contextlib.closing(
        open_tasks(folder, manifest, question.form, question.setup.options, question.tasks)
    ) as session:
        for batch in question.batches:
            asking(session, images[:batch])()
            heap.give_back()
            found.append(round(resident_mb(), 1))
    return found


def main(text: str) -> None:
    """Print {"mb": [...]}, or {"refused": why}."""
    facts = json.loads(text)
    try:
        print(json.dumps({"mb": answer(Question(**{**facts, "batches": tuple(facts["batches"])}))}))
    except AtdError as error:
        print(json.dumps({"refused": str(error)}))


if __name__ == "__main__":
    main(sys.argv[1])
