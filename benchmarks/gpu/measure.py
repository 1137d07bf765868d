"""A machine with an NVIDIA GPU, measured in one command: tests, inference, training; no network, under ten minutes.

    python -m benchmarks.gpu.measure --seconds 540

What can't be run, for want of a package, memory or time, is said in a line and left out; what was measured is written
as it comes, so that nothing is lost. `make gpu` calls this, with WHEELS=FOLDER for packages that the machine lacks. The
exit code is 1 where a test failed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console
from rich.table import Table

from adaptertune_deploy.bench.machine import describe_machine
from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.engines.cuda.driver import ask_driver
from adaptertune_deploy.engines.opening import check_options
from adaptertune_deploy.engines.options import EngineOptions
from benchmarks import documents
from benchmarks.gpu.deadline import OutOfTimeError, deadline

Found = TypeVar("Found")

RESULTS = documents.results("gpu")
TESTS = ("tests/gpu", "tests/flow/test_gpu.py")
# stage -> how much of the time that is left it may take
SHARES = {"machine": 0.15, "training": 0.25, "inference": 0.75, "tests": 1.0}
LONGEST = 3600.0  # seconds that anything is tried for
OPENING = 100.0  # seconds: an engine that builds a plan for longer would leave the others none


@dataclass
class Work:
    """What is measured, and how much time is left for it.

    facts: becomes the JSON document.
    """

    models: tuple[str, ...]
    batches: tuple[int, ...]
    rounds: int
    device: str
    engines: tuple[str, ...]
    target: Path
    ends: float
    facts: dict[str, Any] = field(default_factory=dict)
    console: Console = field(default_factory=Console)

    @property
    def left(self) -> float:
        """Seconds."""
        return self.ends - time.monotonic()

    def lack(self, text: str) -> None:
        """Keep what could not be measured, and say it."""
        self.facts.setdefault("not_measured", []).append(text)
        self.console.print(f"not measured: {text}", markup=False, soft_wrap=True)

    def attempt(self, what: str, call: Callable[[], Found], seconds: float = math.inf) -> Found | None:
        """Return what a call gives; None where it fails or takes longer, which is kept and said."""
        limit = min(seconds, LONGEST)
        with deadline(limit) as over:
            try:
                return call()
            except OutOfTimeError as error:
                if error is not over:
                    raise
                self.lack(f"{what}: it took more than {limit:.0f} s")
            except Exception as error:  # noqa: BLE001  a machine that nobody knows, with any library
                self.lack(f"{what}: {_line(error)}")
        return None

    def write(self) -> None:
        """Write what there is."""
        documents.write(self.target, self.facts)


def _line(error: Exception) -> str:
    """Return an error's first line, with its kind where it is none of ours."""
    first = next(iter(str(error).strip().splitlines()), "")[:300]
    return first if isinstance(error, AtdError | ImportError) and first else f"{type(error).__name__}: {first}"


def describe(work: Work) -> None:
    """Name the machine: processor, GPU, driver, versions, and what the doctor says."""
    machine = dataclasses.asdict(describe_machine())
    if work.device != "cpu":
        driver = ask_driver()
        gpu = driver.gpus[0]
        machine |= {
            "gpu": gpu.name,
            "gpu_capability": gpu.sm,
            "gpu_memory_gb": round(gpu.memory / 1e9),
            "driver": driver.release,
            "cuda": ".".join(map(str, driver.cuda)),
        }
    work.facts["machine"] = machine
    work.write()
    done = _run("-m", "adaptertune_deploy", "doctor", "--json")
    if done.stdout.lstrip().startswith("{"):
        work.facts["doctor"] = [found for found in json.loads(done.stdout)["findings"] if found["status"] != "ok"]
    else:
        work.lack(f"atd doctor: {_last(done)}")


def run_tests(work: Work) -> None:
    """Run the tests that need a GPU, and keep how they ended."""
    done = _run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default", "-m", "gpu or tensorrt", *TESTS
    )  # other releases of libraries may warn of something else
    lines = done.stdout.splitlines()
    counts = {
        word: int(count)
        for count, word in re.findall(r"(\d+) (passed|failed|skipped|errors?)", lines[-1] if lines else "")
    }
    if not counts:
        work.lack(f"tests: {_last(done)}")
        return
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    work.facts["tests"] = {**counts, "exit_code": done.returncode, "not_passed": failed[:20]}
    work.console.print(f"tests: {lines[-1]}", markup=False, soft_wrap=True)


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a module of this Python from the checkout."""
    return subprocess.run([sys.executable, *words], cwd=documents.ROOT, capture_output=True, text=True, check=False)


def _last(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line that a command said."""
    lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    return lines[-1][:300] if lines else f"ended with exit code {done.returncode} and said nothing"


def time_inference(work: Work) -> None:
    """Time every model at every batch size."""
    from benchmarks.gpu import inference

    engines = tuple(name for name in work.engines if work.attempt(name, partial(_check_engine, name, work.device)))
    asked = inference.Asked(work.device, engines, work.rounds, max(work.batches))
    opens = partial(work.attempt, seconds=OPENING)
    found: list[dict[str, Any]] = work.facts.setdefault("inference", [])
    with tempfile.TemporaryDirectory() as scratch:
        for name in work.models:
            graphs = work.attempt(f"graphs of {name}", partial(inference.make_graphs, name, Path(scratch)))
            if graphs is None:
                continue
            failed: set[inference.Key] = set()
            for batch in work.batches:
                measure = partial(inference.measure_batch, name, graphs, batch, asked, opens, failed)
                timed = work.attempt(f"inference of {name} at batch {batch}", measure)
                found += [dataclasses.asdict(entry) for entry in timed or ()]
                work.write()


def _check_engine(engine: str, device: str) -> bool:
    """Return True, or raise AtdError where an engine can't run on the device here."""
    check_options(EngineOptions(engine, device))
    return True


def time_training(work: Work) -> None:
    """Time training steps of every model in fp32 and bf16."""
    from benchmarks.gpu import training

    found: list[dict[str, Any]] = work.facts.setdefault("training", [])
    for name in work.models:
        for precision in ("fp32", "bf16"):
            measure = partial(training.measure_training, name, max(work.batches), precision, work.rounds, work.device)
            timed = work.attempt(f"training of {name} in {precision}", measure)
            found += [timed] if timed is not None else []
            work.write()


STAGES: dict[str, Callable[[Work], None]] = {
    "machine": describe,
    "training": time_training,
    "inference": time_inference,
    "tests": run_tests,
}


def measure(work: Work, stages: Sequence[str]) -> None:
    """Run the stages; one that can't be run, or takes too long, is told and left."""
    for name in stages:
        started = time.monotonic()
        try:
            with deadline(SHARES[name] * work.left):
                work.attempt(name, partial(STAGES[name], work))
        except OutOfTimeError:
            work.lack(f"{name}: its time was over; what it measured until then is kept")
        work.facts.setdefault("seconds", {})[name] = round(time.monotonic() - started, 1)
        work.write()


def show(work: Work) -> None:
    """Print tables of what was measured, and where it lies."""
    table = Table("model", "batch", "graph", "engine", "precision", "ms", title="inference")
    for entry in work.facts.get("inference", []):
        words = [str(entry[name]) for name in ("model", "batch", "graph", "engine", "precision")]
        table.add_row(*words, f"{entry['milliseconds']['median']:.2f}")
    if table.row_count:
        work.console.print(table)
    table = Table("model", "batch", "precision", "images/s", "peak MB", title="training")
    for entry in work.facts.get("training", []):
        table.add_row(*(str(entry[name]) for name in ("model", "batch", "precision", "images_per_second", "peak_mb")))
    if table.row_count:
        work.console.print(table)
    work.console.print(f"results: {work.target}", markup=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write the results, print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--models", default="deit_tiny_patch16_224,vit_base_patch16_224")
    parser.add_argument("--batches", default="1,8,64")
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--engines", default="onnxruntime,tensorrt")
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--json", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    work = Work(
        tuple(given.models.split(",")),
        tuple(int(size) for size in given.batches.split(",")),
        given.rounds,
        given.device,
        tuple(given.engines.split(",")),
        given.json,
        time.monotonic() + given.seconds,
    )
    if given.device != "cpu":
        try:
            ask_driver()
        except AtdError as error:
            raise SystemExit(f"error: {error}; atd doctor says more") from None
    measure(work, given.stages.split(","))
    show(work)
    if work.facts.get("tests", {}).get("exit_code"):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
