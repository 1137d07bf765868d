"""Measure adapters on the pretrained and on a random backbone by running the package's own training.

    python -m pretraining.adapters --cifar10 DIR --out pretraining/results_adapters.json

DIR holds CIFAR-10 as image folders, `train/<class>/*` and `test/<class>/*`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pretraining import network
from pretraining.measure import SEEDS, summary

RANK = 8
BACKBONES = {
    "pretrained": ("--backbone", f"{network.NAME}.{network.TAG}"),
    "random": ("--backbone", f"{network.NAME}.random", "--allow-random-backbone"),
}


def train(dataset: str, backbone: Sequence[str], seed: int) -> dict[str, Any]:
    """Run `atd train` into a temporary folder and return what it reports.

    Raises:
        subprocess.CalledProcessError: the training failed; its message went to standard error.
    """
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "adaptertune_deploy", "train", "--dataset", dataset, *backbone]
        command += ["--task", "measured", "--rank", str(RANK), "--seed", str(seed), "--out", out, "--json"]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    facts: dict[str, Any] = json.loads(answer.stdout)
    return facts


def measure(cifar10: Path, seeds: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Train on both datasets, both backbones and every seed; accuracies in percent of the test images."""
    results: dict[str, dict[str, Any]] = {}
    for name, dataset in (("digits", "digits"), ("cifar10", str(cifar10))):
        for kind, backbone in BACKBONES.items():
            runs = [train(dataset, backbone, seed) for seed in seeds]
            rows = {
                part: asdict(summary([100 * run[part]["top1"] for run in runs])) for part in ("head_only", "adapter")
            }
            results.setdefault(name, {})[kind] = rows
            print(f"{name} {kind}: {rows}", flush=True)
    return results


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the options, train and write the results."""
    parser = argparse.ArgumentParser(description="Train adapters on the pretrained and on a random backbone.")
    parser.add_argument("--cifar10", type=Path, required=True, help="folder with train/ and test/ image folders")
    parser.add_argument("--out", type=Path, required=True, help="results file (JSON)")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="how many of the seeds 0, 1, 2 to run")
    options = parser.parse_args(arguments)
    seeds = SEEDS[: options.seeds]
    results = {"rank": RANK, "seeds": seeds, "adapter_percent": measure(options.cifar10, seeds)}
    options.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
