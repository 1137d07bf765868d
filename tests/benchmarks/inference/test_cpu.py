"""benchmarks.inference.cpu on the smallest network: the three graphs agree where they must, and the JSON holds it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.inference import cpu


def test_the_command_measures_three_graphs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "results" / "infer.json"
    cpu.main(
        [
            "--models",
            "vit_pico_patch8_64",
            "--batches",
            "1,2",
            "--rounds",
            "2",
            "--openings",
            "9",
            "--clock",
            "cpu",
            "--json",
            str(target),
        ]
    )
    data = json.loads(target.read_text())
    assert data["machine"]["cores"] >= 1
    assert data["settings"]["openings"] == 2
    assert [(entry["batch"], entry["graph"]) for entry in data["results"]] == [
        (batch, graph) for batch in (1, 2) for graph in ("plain", "merged", "shared")
    ]
    for entry in data["results"]:
        assert entry["milliseconds"]["low"] <= entry["milliseconds"]["median"] <= entry["milliseconds"]["high"]
        assert (entry["to_plain"]["median"] == 1) == (entry["graph"] == "plain")
    (five,) = data["one_image_five_tasks"]
    assert five["model"] == "vit_pico_patch8_64"
    assert 0 < five["to_passes"]["low"] <= five["to_passes"]["median"] < 1
    printed = capsys.readouterr().out
    assert "vit_pico_patch8_64" in printed
    assert "shared" in printed
