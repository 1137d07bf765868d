"""What many tasks cost in memory: the resident memory of a real server with one task, and with many.

    python -m benchmarks.many_tasks --model deit_tiny_patch16_224 --tasks 64

Bundles are made in temporary folders with tasks of random tensors. Each is served by `atd serve` on ONNX Runtime's CPU
provider, in a process of its own, which is asked about one image for every task before its memory is read.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import sys
import tempfile
import urllib.request
from pathlib import Path

import numpy as np
from PIL import Image

from adaptertune_deploy.bench.machine import describe_machine
from benchmarks import documents
from benchmarks.inference.bank import RANK, export
from benchmarks.servers.atd import served
from benchmarks.serving.swaps import SwappedBundle

RESULTS = documents.results("many_tasks")
ROUNDS = 3
SECONDS = 120


def memory_mb(graph: bytes, tasks: int, *options: str) -> float:
    """Return a server's resident memory, 10^6 bytes, when it has answered for every task."""
    picture = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    Image.fromarray(noise).save(picture, "JPEG")
    with tempfile.TemporaryDirectory() as place:
        SwappedBundle(Path(place), graph, tasks)
        with served(Path(place), *options) as server:
            for _ in range(ROUNDS):
                for number in range(tasks):
                    url = f"http://127.0.0.1:{server.port}/v1/predict?tasks=task{number}"
                    with urllib.request.urlopen(url, picture.getvalue(), timeout=SECONDS) as answer:
                        answer.read()
            return server.resident_mb()


def main(arguments: list[str]) -> None:
    """Measure, print and write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.many_tasks", description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="deit_tiny_patch16_224", help="timm name (default: %(default)s)")
    parser.add_argument("--tasks", type=int, default=64, help="of the larger server (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the numbers (default: %(default)s)")
    given = parser.parse_args(arguments)
    graph = export(given.model)
    one, many = memory_mb(graph, 1), memory_mb(graph, given.tasks)
    slots = max(1, given.tasks // 8)
    bounded = memory_mb(graph, given.tasks, "--slots", str(slots), "--task-memory", "0")
    facts = {
        "machine": dataclasses.asdict(describe_machine()),
        "model": given.model,
        "engine": "onnxruntime",
        "rank": RANK,
        "tasks": given.tasks,
        "one_mb": round(one, 1),
        "many_mb": round(many, 1),
        "ratio": round(many / one, 3),
        "slots": slots,
        "many_in_slots_mb": round(bounded, 1),
    }
    print(documents.write(given.json, facts), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
