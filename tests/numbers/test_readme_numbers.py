"""Every measured number in the README is the one in the results file that a benchmark wrote."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.interval import counted

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
        assert head["images"] == adapter["images"]
        shown = " | ".join(counted(part["top1"], part["images"]) for part in (head, adapter))
        assert f"| {run['task']} | {adapter['images']} | {shown} |" in README
        assert f"| {run['seconds'] / 60:.1f} min |" in README
        assert adapter["top1"] > head["top1"]
        assert run["seconds"] < 15 * 60


def test_two_images_more_are_called_no_difference() -> None:
    pets = results("accuracy")["runs"][0]
    more = round((pets["adapter"]["top1"] - pets["head_only"]["top1"]) * pets["adapter"]["images"])
    assert f"- {more} more images of {pets['adapter']['images']} is no difference shown." in README


def test_sizes_by_arithmetic() -> None:
    parameters = results("accuracy")["runs"][0]["parameters"]
    backbone, task = 4 * parameters["frozen"], 4 * parameters["trainable"]
    said = " ".join(README.split())
    assert f"{parameters['frozen']:,} frozen float32 numbers are {backbone / 1e6:.1f} MB" in said
    assert f"the {parameters['trainable']:,} of the pets task {task / 1e6:.2f} MB" in said
    assert f"take {(backbone + 100 * task) / 1e6:.1f} MB with one backbone" in said
    assert f"{100 * (backbone + task) / 1e9:.1f} GB as merged graphs" in said


def test_inference() -> None:
    facts = results("infer")
    for result in facts["results"]:
        if result["graph"] == "plain":
            continue
        spread = result["to_plain" if result["graph"] == "merged" else "to_merged"]
        cell = f"{spread['median']:.3f} [{spread['low']:.3f}, {spread['high']:.3f}]"
        assert cell in README, (result["model"], result["batch"], result["graph"], cell)
        assert spread["median"] <= 1.03
    for model in facts["settings"]["models"]:
        for batch in facts["settings"]["batches"]:
            cells = [
                f"{result['milliseconds']['median']:.1f}"
                for graph in ("plain", "merged", "shared")
                for result in facts["results"]
                if (result["model"], result["batch"], result["graph"]) == (model, batch, graph)
            ]
            assert f"| {model} | {batch} | {' | '.join(cells)} |" in README


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
