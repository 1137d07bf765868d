"""Every measured number in the README is the one in the results file that a benchmark wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def results(name: str) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())
    return facts


def test_accuracy() -> None:
    runs = results("accuracy")["runs"]
    assert [run["task"] for run in runs] == ["pets", "flowers", "cifar10"]
    for run in runs:
        head, adapter = run["head_only"], run["adapter"]
        row = f"| {run['task']} | {adapter['images']} | {head['top1']:.1%} | {adapter['top1']:.1%} |"
        assert row in README
        assert f"| {run['seconds'] / 60:.1f} min |" in README
        assert adapter["top1"] > head["top1"]
        assert run["seconds"] < 15 * 60


def test_inference() -> None:
    facts = results("infer")
    for result in facts["results"]:
        if result["graph"] == "plain":
            continue
        spread = result["to_plain" if result["graph"] == "merged" else "to_merged"]
        cell = f"{spread['median']:.3f} [{spread['low']:.3f}, {spread['high']:.3f}]"
        assert cell in README, (result["model"], result["batch"], result["graph"], cell)
        assert spread["median"] <= 1.03


def test_footprint() -> None:
    facts = results("footprint")
    assert f"{facts['serve']['after_requests_mb']:.0f} MB" in README
    assert facts["serve"]["after_requests_mb"] < 300
    assert f"{facts['add']['command_s']:.1f} s" in README
    assert facts["add"]["command_s"] < 1
    assert facts["help_s"] < 0.5


def test_the_machine_is_named() -> None:
    machine = results("accuracy")["machine"]
    assert f"{machine['cores']} cores" in README
    assert machine["processor"].split(" avx")[0] in README
