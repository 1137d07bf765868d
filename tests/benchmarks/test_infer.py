"""benchmarks.infer on the smallest network: the three graphs agree where they must, the numbers land in the JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core import bank
from benchmarks import infer


def test_the_command_measures_three_graphs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "results" / "infer.json"
    infer.main(
        [
            "--models",
            "vit_pico_patch8_64",
            "--batches",
            "1,2",
            "--rounds",
            "2",
            "--openings",
            "9",
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
    printed = capsys.readouterr().out
    assert "vit_pico_patch8_64" in printed
    assert "shared" in printed


def test_the_shared_graph_gets_every_task_in_turn() -> None:
    backbone = infer.load_backbone("vit_pico_patch8_64.random", allow_random=True)
    feeds = infer.feeds_of("shared", backbone, 5)
    assert feeds[bank.TASK].tolist() == [0, 1, 2, 0, 1]
    assert feeds[bank.IMAGE].tolist() == [0, 1, 2, 3, 4]
    assert np.array_equal(feeds[bank.IMAGES], infer.feeds_of("merged", backbone, 5)[bank.IMAGES])
    adapters = infer.make_adapters(backbone, 8)
    assert [adapter.task.adapter.blocks for adapter in adapters] == [tuple(range(8))] * infer.TASKS
