"""What making a bundle costs: ViT-B with ten merged graphs, and one more task for a bundle of twenty.

    python -m benchmarks.inference.export_cost

The export runs in a process of its own, from its start to its end, verification against torch on eight images
included; its memory is the largest resident set that it ever had. Adding a task is the call alone, without starting
Python and without verification, on copies of one bundle. Weights are random.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from adaptertune_deploy.bench.machine import describe_machine
from adaptertune_deploy.bench.spread import Spread
from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.bundle.publish import add_task
from benchmarks import backbones, documents
from tests import builders

RESULTS = documents.results("export")
RANK, IMAGES, COPIES = 8, 8, 9


@dataclasses.dataclass(frozen=True)
class Export:
    """seconds: of the whole process. peak_mb: its largest resident memory, 10^6 bytes. graphs_mb: what it wrote."""

    model: str
    merged: int
    seconds: float
    peak_mb: float
    graphs_mb: float


def write_folders(model: str, tasks: int, into: Path) -> list[Path]:
    """Write adapter folders as training would, adapted after every block, with random tensors."""
    backbone = backbones.random_backbone(model)
    blocks = tuple(range(backbone.spec.depth))
    folders = []
    for place in range(tasks):
        task = builders.make_task(f"task{place}", backbones.CLASSES, RANK, blocks)
        identity = builders.make_config(task, backbone.spec, backbone.preprocess).identity
        drawn = builders.make_candidates(identity, place)
        small = {name: (0.02 * value).astype(np.float32) for name, value in drawn.items()}
        folder = into / task.name
        digest = adapters.write_tensors(folder, small, identity)
        adapters.write_config(folder, builders.make_config(task, backbone.spec, backbone.preprocess, digest))
        folders.append(folder)
    return folders


def write_images(into: Path) -> Path:
    """Write the images to verify on."""
    into.mkdir()
    for seed in range(IMAGES):
        (into / f"{seed}.png").write_bytes(builders.encode(builders.make_image(256, 256, seed)))
    return into


def export(model: str, folders: list[Path], out: Path, images: Path, merge: bool) -> Export:
    """Export a bundle in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.inference.export_cost",
        "--child",
        str(out),
        str(images),
        str(int(merge)),
    ]
    started = time.perf_counter()
    done = subprocess.run([*command, *map(str, folders)], check=True, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    written = sum(path.stat().st_size for path in out.rglob("*.onnx")) / 1e6
    return Export(model, len(folders) if merge else 0, round(seconds, 1), float(done.stdout), round(written, 1))


def child(out: Path, images: Path, merge: bool, folders: list[Path]) -> float:
    """Export, and return the largest resident memory of this process in MB."""
    from adaptertune_deploy.export.exporter import export_bundle
    from adaptertune_deploy.export.plan import plan_export

    export_bundle(plan_export(folders, out, merge=merge, images=images), allow_random=True)
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 / 1e6 if found else 0.0


def adding(model: str, tasks: int, scratch: Path) -> Spread:
    """Return the milliseconds of adding a task to a bundle of so many."""
    *held, new = write_folders(model, tasks + 1, scratch / "adapters")
    bundle = scratch / "bundle"
    export(model, held[:1], bundle, write_images(scratch / "images"), merge=False)
    for folder in held[1:]:
        add_task(bundle, folder)
    taken = []
    for number in range(COPIES):
        copy = scratch / f"copy{number}"
        shutil.copytree(bundle, copy)
        started = time.perf_counter()
        add_task(copy, new)
        taken.append(1e3 * (time.perf_counter() - started))
        shutil.rmtree(copy)
    return Spread.of(taken)


def main(arguments: list[str]) -> None:
    """Measure, print and write the JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.inference.export_cost", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--model", default="vit_base_patch16_224", help="to export (default: %(default)s)")
    parser.add_argument("--merged", type=int, default=10, help="merged graphs beside the shared one")
    parser.add_argument(
        "--small-model", default="deit_tiny_patch16_224", help="to add a task to (default: %(default)s)"
    )
    parser.add_argument("--tasks", type=int, default=20, help="of the bundle that gets one more (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the numbers (default: %(default)s)")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        out, images, merge, *folders = given.child
        print(child(Path(out), Path(images), merge == "1", [Path(folder) for folder in folders]))
        return
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        added = adding(given.small_model, given.tasks, scratch)
        folders = write_folders(given.model, given.merged, scratch / "large")
        exported = export(given.model, folders, scratch / "large-bundle", scratch / "images", merge=True)
    facts = {
        "machine": dataclasses.asdict(describe_machine()),
        "add": {"model": given.small_model, "tasks": given.tasks, "milliseconds": dataclasses.asdict(added)},
        "export": dataclasses.asdict(exported),
    }
    print(documents.write(given.json, facts), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
