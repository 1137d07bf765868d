"""Speed of training: the product's step against a plain loop's, where its time goes, and whole commands.

    python -m benchmarks.training.speed --data DIR --weights FILE
    python -m benchmarks.training.speed --data DIR --weights FILE --only steps --rounds 9

DIR holds flowers/ and cifar10/ in the layouts that `atd train` reads; weights are those of DeiT-Tiny. Steps and their
parts run in turn, round by round in an order drawn anew, on Flowers-102. Commands are `atd train` in processes of their
own, with an empty cache, so that decoding counts. Wants a quiet machine; about half an hour on two cores.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from operator import le
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from adaptertune_deploy.bench.interleaved import time_rounds
from adaptertune_deploy.bench.machine import describe_machine
from adaptertune_deploy.bench.spread import Spread, ratios
from adaptertune_deploy.data.samples import FileReader
from adaptertune_deploy.model.adapted import AdaptedViT, pooled_features
from adaptertune_deploy.model.common_part import features_after
from adaptertune_deploy.train.loop.stepper import Stepper
from adaptertune_deploy.train.prepare import prepare
from adaptertune_deploy.train.request.recipe import Recipe
from adaptertune_deploy.train.request.request import TrainRequest
from adaptertune_deploy.train.run import Run
from benchmarks import documents
from benchmarks.training.accuracy import BACKBONE, DATASETS
from benchmarks.training.plain_loop import Files, PlainLoop
from benchmarks.training.speed_page import PAGE, RESULTS, page

VIEWS = 3
PLACEMENTS = {
    "all": ("all", 0),
    "all, fixed views": ("all", VIEWS),
    "last:4": ("last:4", 0),
    "last:4, fixed views": ("last:4", VIEWS),
}
REFERENCE, PRODUCT = "reference", "product"
# In the order in which each contains the one before, but the first.
PARTS = ("load", "frozen", "forward", "gradient", "update", "step")
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
LONG = 1_000_000  # steps: no measurement comes to the end of a schedule
COMMANDS = ("flowers", "cifar10")


class ProductLoop:
    """The product's own loader, network and stepper, a step at a time, and the parts of a step."""

    def __init__(self, run: Run, stack: ExitStack) -> None:
        """Build them; `stack` keeps the backbone as training has it."""
        self._run, self._rows = run, np.arange(len(run.splits.train))
        self._model = AdaptedViT(run.backbone, run.task).to(run.device.torch).train()
        self._stepper = Stepper(self._model, run.recipe, run.device, LONG)
        self._batches = iter(run.batches(self._rows, LONG, 0))
        stack.enter_context(run.device.fast_steps(run.backbone, self._model))
        self._held = next(self._batches)

    def load(self) -> object:
        """Return a batch that nothing prepared beforehand."""
        return next(iter(self._run.batches(self._rows, 1, 0)))

    @torch.no_grad()
    def frozen(self) -> None:
        """Run the frozen part of a step forward."""
        images, network = self._held.images, self._run.backbone.module
        with self._run.device.autocast():
            if images.ndim == 4:
                pooled_features(network, images)
            else:
                features_after(network, images.float(), self._run.task.adapter.blocks[0])

    def forward(self) -> Tensor:
        """Return the loss of a batch that is held."""
        with self._run.device.autocast():
            logits = self._model(self._held.images)
        return functional.cross_entropy(logits.float(), self._held.targets)

    def gradient(self) -> None:
        """Compute that loss's gradients."""
        self._model.zero_grad()
        self.forward().backward()  # type: ignore[no-untyped-call]

    def update(self) -> None:
        """Take a step on the batch that is held."""
        self._stepper.step(self._held.images, self._held.targets, None)

    def step(self) -> None:
        """Take a step on the next batch, which was loaded meanwhile."""
        self._held = next(self._batches)
        self.update()


def measure_steps(given: argparse.Namespace) -> dict[str, Any]:
    """Return the times of every loop and part, and ratios of steps to the reference's."""
    loops: dict[tuple[str, str], PlainLoop | ProductLoop] = {}
    with ExitStack() as stack:
        for name, (placement, views) in PLACEMENTS.items():
            run = prepared(given, placement, views)
            loops[PRODUCT, name] = ProductLoop(run, stack)
            if not views:
                blocks = run.task.adapter.blocks
                loops[REFERENCE, name] = PlainLoop(BACKBONE, given.weights, _files(run), blocks, run.recipe)
        runs = {(*key, part): getattr(loop, part) for key, loop in loops.items() for part in PARTS}
        for loop in loops.values():
            for _ in range(2):
                loop.update()  # the first adds the optimiser's state; then `up` is no longer zero
        seconds = time_rounds(runs, partial(le, given.rounds), CLOCKS[given.clock])
    to = seconds[REFERENCE, "all", "step"]
    rows = [
        {
            "loop": loop,
            "placement": placement,
            "milliseconds": {
                part: dataclasses.asdict(Spread.of([1e3 * value for value in seconds[loop, placement, part]]))
                for part in PARTS
            },
            "faster": dataclasses.asdict(ratios(to, seconds[loop, placement, "step"])),
            "faster_than_same": dataclasses.asdict(
                ratios(seconds[REFERENCE, placement.split(",")[0], "step"], seconds[loop, placement, "step"])
            ),
        }
        for loop, placement in sorted(loops, key=lambda key: (key[1], key[0] == PRODUCT))
    ]
    settings = {
        "rounds": given.rounds,
        "clock": given.clock,
        "threads": torch.get_num_threads(),
        "batch": run.recipe.batch_size,
        "rank": run.recipe.rank,
        "precision": run.recipe.precision,
        "views": VIEWS,
        "backbone": BACKBONE,
    }
    return {"settings": settings, "rows": rows, "machine": dataclasses.asdict(describe_machine())}


def measure_command(name: str, options: list[str], given: argparse.Namespace) -> dict[str, Any]:
    """Train one task by the command line and return its seconds with what it reached."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        command = [sys.executable, "-m", "adaptertune_deploy", "train", *DATASETS[name](given.data, scratch), *options]
        command += ["--task", name, "--backbone", BACKBONE, "--weights", str(given.weights), "--json"]
        command += ["--out", str(scratch / "adapters")]
        environment = os.environ | {"ATD_CACHE": str(scratch / "cache"), "OMP_NUM_THREADS": str(given.threads)}
        started = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
        seconds = time.perf_counter() - started
    facts: dict[str, Any] = json.loads(done.stdout)
    return {
        "dataset": name,
        "options": " ".join(options),
        "images": facts["train_images"],
        "seconds": seconds,
        "threads": given.threads,
        "facts": {key: value for key, value in facts.items() if key not in ("folder", "curve")},
        "machine": dataclasses.asdict(describe_machine()),
    }


def prepared(given: argparse.Namespace, placement: str, views: int) -> Run:
    """Return a run on Flowers-102 that is about to begin."""
    recipe = Recipe(placement=placement, views=views, device="cpu", precision=given.precision)
    request = TrainRequest(
        dataset="flowers",
        backbone=BACKBONE,
        out=Path(tempfile.gettempdir()) / "atd-train-speed",  # nothing is written there
        recipe=recipe,
        data_dir=given.data / "flowers",
        weights=given.weights,
        allow_missing=True,
        checkpoint_every=0.0,
    )
    return prepare(request, lambda *step: None)


def _files(run: Run) -> Files:
    split, reader = run.splits.train, run.splits.train.reader
    if not isinstance(reader, FileReader):
        raise TypeError(f"the images of {run.dataset.name} are no files")
    return [(reader.root / name, int(target)) for name, target in zip(split.names, split.targets, strict=True)]


def write(results: dict[str, Any]) -> None:
    """Write the results file and the page that is made from it."""
    documents.write(RESULTS, results)
    PAGE.write_text(page(results))


def main(arguments: list[str] | None = None) -> int:
    """Measure, writing after every part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--only", choices=("steps", "commands"), help="one part alone")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu counts the work of all threads")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    given = parser.parse_args(arguments)
    given.data, given.weights = given.data.resolve(), given.weights.resolve()
    torch.set_num_threads(given.threads)
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    here = results.setdefault(describe_machine().processor, {})
    if given.only != "commands":
        here["steps"] = measure_steps(given)
        write(results)
    if given.only != "steps":
        found = {(each["dataset"], each["options"]): each for each in here.get("commands", [])}
        for placement, views in PLACEMENTS.values():
            options = ["--placement", placement] + (["--views", str(views)] if views else [])
            for name in COMMANDS:
                print(name, *options, file=sys.stderr, flush=True)
                found[name, " ".join(options)] = measure_command(name, options, given)
                here["commands"] = list(found.values())
                write(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
