"""Accuracy of the default recipe on real datasets, against the head alone.

python -m benchmarks.accuracy --data DIR --weights FILE

DIR holds pets/, flowers/ and cifar10/ in the layouts that `atd train` reads. Every run is `atd train` with its
defaults, in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.machine import describe_machine

RESULTS = Path(__file__).parent / "results" / "accuracy.json"
BACKBONE = "deit_tiny_patch16_224.fb_in1k"


def arguments_of(name: str, data: Path) -> list[str]:
    """Return the options of `atd train` that name a dataset below `data`."""
    if name == "cifar10":
        return ["--dataset", str(data / name)]
    return ["--dataset", name, "--data-dir", str(data / name), "--allow-missing"]


def train(name: str, data: Path, weights: Path, out: Path) -> dict[str, Any]:
    """Train one task and return what `atd train --json` prints."""
    command = [sys.executable, "-m", "adaptertune_deploy", "train", *arguments_of(name, data), "--json"]
    command += ["--backbone", BACKBONE, "--weights", str(weights), "--out", str(out)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    facts: dict[str, Any] = json.loads(done.stdout)
    del facts["folder"]
    return facts | {"dataset": name}  # not the path, which is this machine's own


def show(runs: list[dict[str, Any]]) -> None:
    """Print one line a dataset."""
    table = Table(title=f"{BACKBONE}, default recipe", box=None)
    for column in ("dataset", "split", "images", "head alone", "adapter + head", "epochs", "time"):
        table.add_column(column, justify="left" if column == "dataset" else "right")
    for run in runs:
        minutes = f"{run['seconds'] / 60:.1f} min"
        cells = (f"{run[part]['top1']:.1%}" for part in ("head_only", "adapter"))
        table.add_row(
            run["task"], run["split"], str(run["adapter"]["images"]), *cells, str(len(run["history"])), minutes
        )
    Console().print(table)


def main() -> None:
    """Train every dataset and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--datasets", default="pets,flowers,cifar10")
    parser.add_argument("--out", type=Path, help="keep the adapters here")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        out = given.out or Path(scratch)
        runs = [train(name, given.data, given.weights, out) for name in given.datasets.split(",")]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"machine": describe_machine(), "runs": runs}, indent=2) + "\n")
    show(runs)


if __name__ == "__main__":
    main()
