"""benchmarks.inference.export_cost on the smallest network: a bundle is really exported and really added to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.inference import export_cost


def test_the_command_measures_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "results" / "export.json"
    pico = "vit_pico_patch8_64"
    sizes = ["--merged", "2", "--tasks", "3"]
    export_cost.main(["--model", pico, "--small-model", pico, *sizes, "--json", str(target)])
    data = json.loads(target.read_text())
    assert json.loads(capsys.readouterr().out) == data
    assert data["add"]["tasks"] == 3
    assert 0 < data["add"]["milliseconds"]["low"] <= data["add"]["milliseconds"]["median"]
    exported = data["export"]
    assert (exported["model"], exported["merged"]) == (pico, 2)
    assert exported["peak_mb"] > 10 * exported["graphs_mb"] > 10  # torch and timm alone take hundreds
    assert exported["seconds"] > 1
