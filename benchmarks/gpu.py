"""A machine with an NVIDIA GPU, measured in one command: tests, inference, training; no network, under ten minutes.

    python -m benchmarks.gpu --seconds 540

What can't be run for want of a package is said and left out; what was measured is written after every stage, so that
nothing is lost when time runs out. `make gpu` calls this, with WHEELS=FOLDER for packages that the machine lacks.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from adaptertune_deploy.bench.machine import describe_machine
from adaptertune_deploy.core.errors import AtdError
from adaptertune_deploy.engines.cuda.driver import ask_driver

RESULTS = Path(__file__).parent / "results" / "gpu.json"
TESTS = ("tests/gpu", "tests/flow/test_gpu.py")
TESTS_SHARE = 0.4  # of the time, at most


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
        self.console.print(f"not measured: {text}", markup=False)

    def write(self) -> None:
        """Write what there is."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self.target.write_text(json.dumps(self.facts, indent=2) + "\n")


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
    done = subprocess.run(
        [sys.executable, "-m", "adaptertune_deploy", "doctor", "--json"], capture_output=True, text=True
    )
    findings = json.loads(done.stdout)["findings"] if done.returncode in (0, 1) and done.stdout else []
    work.facts["doctor"] = [entry for entry in findings if entry["status"] != "ok"]


def run_tests(work: Work) -> None:
    """Run the tests that need a GPU, and keep how they ended."""
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu or tensorrt", *TESTS]
    root = Path(__file__).parents[1]
    try:
        done = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=TESTS_SHARE * work.left)
    except subprocess.TimeoutExpired:
        work.lack("tests: they did not end in time")
        return
    lines = done.stdout.splitlines()
    counts = {
        word: int(count)
        for count, word in re.findall(r"(\d+) (passed|failed|skipped|errors?)", lines[-1] if lines else "")
    }
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    work.facts["tests"] = {**counts, "exit_code": done.returncode, "not_passed": failed[:20]}
    work.console.print(f"tests: {lines[-1] if lines else done.stderr[-300:]}", markup=False)


def time_inference(work: Work) -> None:
    """Time every model at every batch size."""
    from benchmarks import gpu_inference

    found: list[dict[str, Any]] = work.facts.setdefault("inference", [])
    with tempfile.TemporaryDirectory() as scratch:
        for name in work.models:
            graphs = gpu_inference.make_graphs(name, Path(scratch))
            for batch in work.batches:
                if work.left < 0:
                    work.lack(f"inference of {name} at batch {batch}: no time was left")
                    continue
                timed = gpu_inference.measure_batch(
                    name, graphs, batch, work.device, work.engines, work.rounds, work.lack
                )
                found += [dataclasses.asdict(entry) for entry in timed]
                work.write()


def time_training(work: Work) -> None:
    """Time training steps of every model in fp32 and bf16."""
    from benchmarks import gpu_training

    found: list[dict[str, Any]] = work.facts.setdefault("training", [])
    for name in work.models:
        for precision in ("fp32", "bf16"):
            if work.left < 0:
                work.lack(f"training of {name} in {precision}: no time was left")
                continue
            found.append(gpu_training.measure_training(name, max(work.batches), precision, work.rounds, work.device))
            work.write()


STAGES: dict[str, Callable[[Work], None]] = {
    "machine": describe,
    "training": time_training,
    "inference": time_inference,
    "tests": run_tests,
}


def measure(work: Work, stages: Sequence[str]) -> None:
    """Run the stages; one that can't be run is told and left out."""
    for name in stages:
        started = time.monotonic()
        try:
            STAGES[name](work)
        except (AtdError, ImportError) as error:
            work.lack(f"{name}: {error}")
        work.facts.setdefault("seconds", {})[name] = round(time.monotonic() - started, 1)
        work.write()


def show(work: Work) -> None:
    """Print tables of what was measured."""
    table = Table("model", "batch", "graph", "engine", "precision", "ms", title="inference")
    for entry in work.facts.get("inference", []):
        words = [str(entry[name]) for name in ("model", "batch", "graph", "engine", "precision")]
        table.add_row(*words, f"{entry['milliseconds']['median']:.2f}")
    work.console.print(table)
    table = Table("model", "batch", "precision", "images/s", "peak MB", title="training")
    for entry in work.facts.get("training", []):
        table.add_row(*(str(entry[name]) for name in ("model", "batch", "precision", "images_per_second", "peak_mb")))
    work.console.print(table)


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


if __name__ == "__main__":
    main()
