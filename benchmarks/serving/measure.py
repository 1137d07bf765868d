"""A server measured as its rivals are: images a second over HTTP, latencies, memory; NVIDIA's tritonserver beside it.

    python -m benchmarks.serving.measure       (make bench-serve, which measures swaps too and writes the page)
    python -m benchmarks.serving.measure --only many_tasks

Real servers in processes of their own, with the options that `atd serve` has by default; clients on the same machine
send JPEG files. All of it takes turns in one run, round by round and in an order that is drawn anew each time, so that
what else the machine does hits everything alike; where two things are compared, their ratio is taken in each round.
Weights are random: speed does not depend on them. On a quiet machine of two cores or more. A part that is
measured alone joins the results of the others, where they are of the same machine and the same settings.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any, Protocol

from rich.console import Console
from rich.progress import track

from adaptertune_deploy.bench.machine import describe_machine
from adaptertune_deploy.core.bundle.folder import MANIFEST_NAME, read_manifest
from benchmarks import documents
from benchmarks.clients.loads import CLIENTS
from benchmarks.clients.photographs import photographs
from benchmarks.servers.tritonserver import NoTritonError, package
from benchmarks.serving.against_triton import AgainstTriton
from benchmarks.serving.asked import rows
from benchmarks.serving.capacity import Capacity
from benchmarks.serving.five_tasks import FiveTasks
from benchmarks.serving.many_tasks import ManyTasks
from benchmarks.serving.swaps import SwappedBundle

RESULTS = documents.results("serve")
MODELS = "deit_tiny_patch16_224,vit_small_patch16_224"
IMAGES, TASKS, FIVE, LATE_BLOCKS, MANY = 16, 10, 5, 4, 64
EVERY_BLOCK, LAST_BLOCKS = "every block", f"the last {LATE_BLOCKS} blocks"
CAPACITY, FIVE_TASKS, TRITON, MANY_TASKS = PARTS = ("capacity", "five_tasks", "triton", "many_tasks")


class Measure(Protocol):
    """Something that is measured round by round."""

    def round(self) -> None:
        """Measure it once."""

    def facts(self) -> dict[str, Any]:
        """Return what all rounds came to, as it stands in JSON."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is measured, and for how long.

    models: timm names; the first is the one that is compared with other servers.
    rounds: of everything; a third of them for what starts servers anew.
    seconds: of one part of a round, see the measures.
    parts: of PARTS.
    threads: of each session in tritonserver.
    bundles: folder in which bundles are kept; None for one of the run's own.
    """

    models: tuple[str, ...]
    rounds: int
    seconds: float
    parts: tuple[str, ...]
    threads: int
    bundles: Path | None = None


class Bundles:
    """Bundles of random tasks of rank 8, made in a folder where it lacks them; each graph is exported once."""

    def __init__(self, folder: Path) -> None:
        """Take a folder, which need not exist."""
        self._folder = folder
        self._graphs: dict[tuple[str, int], bytes] = {}

    def make(self, model: str, tasks: int, last: int = 0) -> Path:
        """Return a bundle of this model with so many tasks, in its last blocks only where that is asked."""
        folder = self._folder / f"{model}-{tasks}-{last}"
        if not (folder / MANIFEST_NAME).exists():
            if (model, last) not in self._graphs:
                self._graphs[model, last] = _export(model, last)
            SwappedBundle(folder, self._graphs[model, last], tasks)
        return folder


def _export(model: str, last: int) -> bytes:
    from adaptertune_deploy.export.shared import export_shared
    from benchmarks.backbones import random_backbone

    backbone = random_backbone(model)
    depth = backbone.spec.depth
    return export_shared(backbone, tuple(range(depth - last if last else 0, depth)))


def _names(folder: Path) -> list[str]:
    return [record.task.name for record in read_manifest(folder).tasks]


@contextlib.contextmanager
def opened(settings: Settings, scratch: Path, cores: int) -> Iterator[dict[tuple[str, str], Measure]]:
    """Hold everything that is measured in every round, by part and by name, "" where a part is one measure."""
    bundles, images = Bundles(settings.bundles or scratch / "bundles"), photographs(IMAGES)
    first = settings.models[0]
    found: dict[tuple[str, str], Measure] = {}
    with contextlib.ExitStack() as stack:
        if CAPACITY in settings.parts:
            files = _written(images, scratch / "photographs")
            for model in settings.models:
                folder = bundles.make(model, TASKS)
                capacity = found[CAPACITY, model] = Capacity(rows(folder, images), settings.seconds, cores)
                stack.enter_context(capacity.opened(folder, files))
        if FIVE_TASKS in settings.parts:
            for where, last in ((EVERY_BLOCK, 0), (LAST_BLOCKS, LATE_BLOCKS)):
                folder = bundles.make(first, FIVE, last)
                five = found[FIVE_TASKS, where] = FiveTasks(_names(folder), images, settings.seconds)
                stack.enter_context(five.opened(folder))
        if TRITON in settings.parts:
            folder = bundles.make(first, TASKS)
            triton = found[TRITON, ""] = AgainstTriton(rows(folder, images), settings.seconds)
            stack.enter_context(triton.opened(folder, scratch, settings.threads))
        if MANY_TASKS in settings.parts:
            many = [bundles.make(first, count) for count in (1, MANY)]
            names = [_names(folder) for folder in many]
            found[MANY_TASKS, ""] = ManyTasks(many, names, images[0], 2 * settings.seconds)
        yield found


def _written(images: Sequence[bytes], folder: Path) -> Path:
    """Write images into a new folder; return it."""
    folder.mkdir()
    for place, image in enumerate(images):
        (folder / f"{place}.jpg").write_bytes(image)
    return folder


def measure(settings: Settings, console: Console) -> dict[str, Any]:
    """Return the machine, the settings and what every part came to; see the module."""
    machine = describe_machine()
    result: dict[str, Any] = {
        "machine": dataclasses.asdict(machine),
        "settings": {
            "first": settings.models[0],
            "rounds": settings.rounds,
            "seconds": settings.seconds,
            "clients": CLIENTS,
        },
    }
    with tempfile.TemporaryDirectory() as scratch, opened(settings, Path(scratch), machine.cores) as measures:
        gc.freeze()  # what torch left in this process would be looked through while it is a client
        draw = Random(0)
        for number in track(range(settings.rounds), "measuring", console=console, refresh_per_second=0.2):
            for part, name in draw.sample(list(measures), len(measures)):
                if part != MANY_TASKS or number % 3 == 0:
                    measures[part, name].round()
        for (part, name), one in measures.items():
            if name:
                result.setdefault(part, {})[name] = one.facts()
            else:
                result[part] = one.facts()
    return result


def joined(kept: Mapping[str, Any], found: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return results with a part that was measured again.

    Raises:
        SystemExit: they are of another machine, or of other settings.
    """
    for name in ("machine", "settings"):
        if kept[name] != json.loads(json.dumps(found[name])):
            raise SystemExit(f"{path} is of another {name}, {kept[name]}; measure all of it: make bench-serve")
    return {**kept, **found}


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving.measure", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--models", default=MODELS, help="timm names, with commas (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=7, help="of everything (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a part of a round (default: %(default)s)")
    parser.add_argument("--only", choices=PARTS, help="one part, which joins the results of the others")
    parser.add_argument("--no-triton", action="store_true", help="leave tritonserver out; the page says so")
    parser.add_argument("--threads", type=int, default=1, help="of each session in tritonserver (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the numbers (default: %(default)s)")
    parser.add_argument("--bundles", type=Path, help="keep what is exported in this folder, and find it there again")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Measure, and write the JSON."""
    given = parse(arguments)
    parts = (given.only,) if given.only else tuple(part for part in PARTS if part != TRITON or not given.no_triton)
    if TRITON in parts:
        try:
            package("pytriton")
        except NoTritonError as error:
            raise SystemExit(f"{error}, or leave it out with --no-triton") from None
    if given.only and not given.json.exists():
        raise SystemExit(f"{given.json} is not there for a part to join; measure all of it: make bench-serve")
    models = tuple(given.models.split(","))
    settings = Settings(models, given.rounds, given.seconds, parts, given.threads, given.bundles)
    facts = measure(settings, Console(stderr=True))
    if given.only:
        facts = joined(json.loads(given.json.read_text()), facts, given.json)
    facts.setdefault(TRITON, None)
    print(documents.write(given.json, facts), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
