"""Forms x precisions x engines on a CPU: how far answers move on real images, and what a run takes.

    python -m benchmarks.precision.measure --data DIR --weights FILE --work FOLDER
    python -m benchmarks.precision.measure --data DIR --weights FILE --work FOLDER --only timing

DIR holds flowers/ in the layout that `atd train` reads, weights are those of DeiT-Tiny. "answers" trains a task on the
official training images with adapters in every block, exports it in every precision, and asks each graph about the
official validation images, which nothing was trained or calibrated on. "timing" runs graphs of both models in one
process, interleaved, as ratios to ONNX Runtime's merged fp32 graph, round by round; that wants a quiet machine. What
FOLDER and the results file hold of this processor already is not done again, so an interrupted benchmark goes on where
it stopped; what was measured on others stays beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adaptertune_deploy.bench.machine import describe_machine
from adaptertune_deploy.core.answers.significance import paired
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import FORMS, select_graph
from adaptertune_deploy.core.images.preprocess import preprocess
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.data.datasets import open_dataset
from adaptertune_deploy.data.samples import Split
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.engines.table import graph_precision
from adaptertune_deploy.serve.sessions.session import open_session
from benchmarks import documents
from benchmarks.precision import timing
from benchmarks.precision.page import PAGE, RESULTS, page

TASK, BATCH = "flowers", 8
PARTS = ("answers", "timing")


@dataclasses.dataclass(frozen=True)
class Arm:
    """One engine in one precision. rest: what OpenVINO computes beside int8 products."""

    engine: str
    precision: Precision
    rest: str = ""

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}" + (f", rest {self.rest}" if self.rest else "")

    def options(self, threads: int) -> EngineOptions:
        """Return what is asked of the engine."""
        return EngineOptions(self.engine, "cpu", self.precision, threads, {"rest": self.rest} if self.rest else {})


EXACT = Arm("onnxruntime", Precision.FP32)
ARMS = (
    EXACT,
    Arm("onnxruntime", Precision.FP16),
    Arm("onnxruntime", Precision.INT8),
    Arm("onnxruntime", Precision.INT8_QDQ),
    Arm("openvino", Precision.FP32),
    Arm("openvino", Precision.BF16),
    Arm("openvino", Precision.INT8_QDQ),
    Arm("openvino", Precision.INT8_QDQ, "bf16"),
)
WRITTEN = ",".join(dict.fromkeys(str(graph_precision(arm.options(0))) for arm in ARMS))


def prepare(data: Path, weights: Path, work: Path) -> Path:
    """Train the task and export it, where that was not done yet; return the bundle's folder."""
    made = work / "bundle"
    if not (work / "adapters" / TASK / "adapter_config.json").exists():
        listed = write_list(data, work / "flowers.csv")
        _atd("train", "--dataset", listed, "--task", TASK, "--ship", "adapter", *_places(work, weights))
    if not (made / "manifest.json").exists():
        where = ("--adapters-dir", work / "adapters", "--weights", weights, "--out", made)
        _atd("export", *where, "--merge", "--precision", WRITTEN)
    return made


def write_list(data: Path, file: Path) -> Path:
    """Write a list of images for `atd train`: the official training images to learn from, those of val to test on."""
    file.parent.mkdir(parents=True, exist_ok=True)
    dataset = open_dataset(TASK, data / TASK, TASK, allow_missing=True)
    with file.open("w", newline="") as text:
        rows = csv.writer(text)
        rows.writerow(("path", "label", "split"))
        for part, split in (("train", dataset.train), ("test", dataset.val)):
            rows.writerows((path, dataset.labels[target], part) for path, target in _images(split))
    return file


def _images(split: Split | None) -> Iterator[tuple[Path, int]]:
    assert split is not None
    folder = split.reader.root  # type: ignore[attr-defined]
    for name, target in zip(split.names, split.targets.tolist(), strict=True):
        yield (folder / name).resolve(), target


def _places(work: Path, weights: Path) -> tuple[object, ...]:
    return ("--weights", weights, "--out", work / "adapters")


def _atd(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "adaptertune_deploy", *map(str, arguments)], check=True)


def read_images(listed: Path, folder: Path, most: int) -> tuple[Array, Any]:
    """Return the listed test images, preprocessed, float32 [N, 3, H, W], and their targets [N]."""
    manifest = bundle.read_manifest(folder)
    labels = manifest.tasks[0].task.labels
    with listed.open(newline="") as text:
        rows = [row for row in csv.DictReader(text) if row["split"] == "test"]
    rows = rows[:: max(1, len(rows) // most)][:most]
    images = np.stack([preprocess(Path(row["path"]).read_bytes(), manifest.preprocess) for row in rows])
    return images, np.array([labels.index(row["label"]) for row in rows])


def ask(folder: Path, form: str, options: EngineOptions, images: Array) -> Array:
    """Return a graph's logits [N, classes] for all images, BATCH at a time."""
    session = open_session(folder, form=form, options=options)
    with contextlib.closing(session):
        found = []
        for start in range(0, len(images), BATCH):
            part = images[start : start + BATCH]
            found += session.run(part, np.arange(len(part)), np.zeros(len(part), dtype=np.int64))
    return np.stack(found)


def compare(logits: Array, exact: Array, targets: Any) -> dict[str, Any]:
    """Return how far logits lie from the exact ones, and what the answers are worth."""
    difference = np.abs(logits - exact).astype(np.float64)
    norms = np.linalg.norm(logits, axis=1) * np.linalg.norm(exact, axis=1)
    right, before = (table.argmax(axis=1) == targets for table in (logits, exact))
    test = paired(before.tolist(), right.tolist())
    return {
        "images": len(targets),
        "max": float(difference.max()),
        "mean": float(difference.mean()),
        "cosine": float(((logits * exact).sum(axis=1) / norms).min()),
        "same": int((logits.argmax(axis=1) == exact.argmax(axis=1)).sum()),
        "right": int(right.sum()),
        "better": test.better,
        "worse": test.worse,
        "p": test.p,
    }


def measure_answers(given: argparse.Namespace, here: dict[str, Any], keep: Callable[[], None]) -> None:
    """Ask every graph that was not asked yet on this machine; the results are kept after each."""
    folder = prepare(given.data, given.weights, given.work)
    manifest = bundle.read_manifest(folder)
    images, targets = read_images(given.work / "flowers.csv", folder, given.images)
    answers: dict[str, Any] = here.setdefault("answers", {"rows": {}})
    answers |= {"machine": dataclasses.asdict(describe_machine()), "rank": manifest.tasks[0].task.adapter.rank}
    for form in FORMS:
        exact = None
        for arm in ARMS:
            key = f"{form}, {arm}"
            if key in answers["rows"] and answers["rows"][key]["images"] == len(targets):
                continue
            if exact is None:
                exact = ask(folder, form, EXACT.options(given.threads), images)
            options = arm.options(given.threads)
            logits = exact if arm == EXACT else ask(folder, form, options, images)
            task = TASK if form == "merged" else None
            graph = folder / select_graph(manifest, form, graph_precision(options), task).file
            answers["rows"][key] = {"megabytes": graph.stat().st_size / 1e6, **compare(logits, exact, targets)}
            print(key, json.dumps(answers["rows"][key]), flush=True)
            keep()


def write(results: Mapping[str, Any], file: Path) -> None:
    """Write the results, and the page where they are the committed ones."""
    documents.write(file, results)
    if file.resolve() == RESULTS.resolve():
        PAGE.write_text(page(results))


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.precision.measure", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--data", type=Path, required=True, help="folder that holds flowers/")
    parser.add_argument("--weights", type=Path, required=True, help="DeiT-Tiny's weights")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps the task and its bundle")
    parser.add_argument("--only", choices=PARTS, help="one part (default: both)")
    parser.add_argument("--images", type=int, default=1020, help="of the validation images (default: %(default)s)")
    parser.add_argument("--models", default=timing.MODELS, help="timm names that are timed, with commas")
    parser.add_argument("--batches", default="1,8", help="batch sizes that are timed (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=40, help="times that each graph runs (default: %(default)s)")
    parser.add_argument("--openings", type=int, default=4, help="times that each graph is opened afresh")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of a run, 0 for all cores")
    parser.add_argument("--clock", choices=timing.CLOCKS, default="wall", help="cpu counts the work alone")
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the numbers (default: %(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> None:
    """Measure what is missing."""
    given = parse(arguments)
    results: dict[str, Any] = json.loads(given.json.read_text()) if given.json.exists() else {}
    here = results.setdefault(describe_machine().processor, {})
    if given.only in (None, "answers"):
        measure_answers(given, here, lambda: write(results, given.json))
    if given.only in (None, "timing"):
        arms = {str(arm): arm.options(given.threads) for arm in ARMS}
        for found in timing.measure(given, arms, here):
            here["timing"] = found
            write(results, given.json)
    print(f"numbers written to {given.json}")


if __name__ == "__main__":
    main(sys.argv[1:])
