"""benchmarks.inference.page: the page says what the results say, and where a target is missed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import documents
from benchmarks.inference import page as inference_page
from benchmarks.inference.page import page

MACHINE = {"cores": 2, "processor": "Chip", "memory_gb": 8, "python": "3.11", "versions": {"numpy": "2.0"}}


def spread(median: float) -> dict[str, float]:
    return {"median": median, "low": median - 0.01, "high": median + 0.01}


def result(graph: str, batch: int, to_plain: float, to_merged: float) -> dict[str, Any]:
    times = {"milliseconds": spread(20.0), "to_plain": spread(to_plain), "to_merged": spread(to_merged)}
    return {"model": "deit_tiny_patch16_224", "batch": batch, "graph": graph, **times}


INFER: dict[str, Any] = {
    "machine": MACHINE,
    "settings": {"rounds": 40, "openings": 4, "clock": "cpu"},
    "results": [result("plain", 8, 1, 1.2), result("merged", 8, 0.86, 1), result("shared", 8, 0.89, 1.021)],
    "one_image_five_tasks": [
        {"model": "deit_tiny_patch16_224", "milliseconds": spread(17.0), "to_passes": spread(0.31)}
    ],
}
BANK = {
    "machine": MACHINE,
    "model": "deit_tiny_patch16_224",
    "replace_ms": spread(0.2),
    "cpu_time": {"10 tasks": spread(1), "1000 tasks": spread(1.004), "1000 tasks, two of them large": spread(1.02)},
    "memory_mb": {
        "one_task": 100.0, "100_tasks": 119.0, "sessions": 10, "sessions_of_one_task": 400.0,
        "100_sessions_at_that_rate": 3400.0, "tasks": 1000, "many_tasks": 300.0,
        "many_tasks_two_of_them_large": 302.5, "the_large_ones_own": 2.2,
    },
}  # fmt: skip
EXPORT = {
    "machine": MACHINE,
    "add": {"model": "deit_tiny_patch16_224", "tasks": 20, "milliseconds": spread(30.0)},
    "export": {"model": "vit_base_patch16_224", "merged": 10, "seconds": 61.0, "peak_mb": 2900.0, "graphs_mb": 3800.0},
}


def test_every_measured_number_is_on_the_page() -> None:
    made = page(INFER, BANK, EXPORT)
    assert "40 rounds in 4 openings, cpu time." in made
    assert "| deit_tiny_patch16_224, 8, plain | 20.0 | 400.0 |  |  |  |  |" in made
    assert "| deit_tiny_patch16_224, 8, merged | 20.0 | 400.0 | 0.860 [0.850, 0.870] | 0.87 |  |  |" in made
    assert "| 1000 tasks | 1.004 [0.994, 1.014] | 1.01 |" in made
    assert "| replacing one of 1,000 tasks | 0.200 [0.190, 0.210] ms | 1 |" in made
    assert "| memory of 100 tasks to that of one | 119 / 100 MB = 1.19 | 1.2 |" in made
    assert "| memory of 100 tasks to that of 100 sessions | 119 / 3400 MB = 0.035 | 0.05 |" in made
    assert "| two large tasks among them | 2.5 MB more | 2.2 MB, their own |" in made
    assert "| one more task for 20, deit_tiny_patch16_224 | 30.0 [30.0, 30.0] ms | 100 |" in made
    assert "shared and 10 merged, 3,800 MB of graphs: memory | 2,900 MB | 3000 |" in made
    assert made.count("- infer: 2 cores of Chip, 8 GB; Python 3.11, numpy 2.0") == 1


def test_a_missed_target_is_said() -> None:
    made = page(INFER, BANK, EXPORT)
    assert "| 0.890 [0.880, 0.900] | 0.88, **missed** | 1.021 [1.011, 1.031] | 1.02, **missed** |" in made
    assert "| 0.310 [0.300, 0.320] | 0.3, **missed** |" in made
    assert "| 1000 tasks, two of them large | 1.020 [1.010, 1.030] | 1.01, **missed** |" in made
    assert "time | 61.0 s | 60, **missed** |" in made
    assert made.count("**missed**") == 5


def test_what_was_not_measured_is_left_out() -> None:
    made = page(INFER, None, None)
    assert "## Many tasks" not in made
    assert "## Making a bundle" not in made
    assert "- bank" not in made


def test_the_command_reads_the_results_and_writes_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(documents, "RESULTS", tmp_path)
    monkeypatch.setattr(inference_page, "PAGE", tmp_path / "docs" / "inference.md")
    with pytest.raises(SystemExit, match="run make bench-infer"):
        inference_page.main()
    (tmp_path / "infer.json").write_text(json.dumps(INFER))
    (tmp_path / "export.json").write_text(json.dumps(EXPORT))
    inference_page.main()
    assert (tmp_path / "docs" / "inference.md").read_text() == page(INFER, None, EXPORT)
    assert "page written to" in capsys.readouterr().out
