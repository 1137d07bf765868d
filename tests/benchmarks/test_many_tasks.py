"""benchmarks.many_tasks on the smallest network: every number is measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import many_tasks
from benchmarks.inference import bank


def test_the_command_measures_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = bank.export("vit_pico_patch8_64")
    monkeypatch.setattr(many_tasks, "export", lambda model: graph)
    monkeypatch.setattr(many_tasks, "ROUNDS", 1)
    target = tmp_path / "results" / "many_tasks.json"
    many_tasks.main(["--tasks", "8", "--json", str(target)])
    data = json.loads(target.read_text())
    assert json.loads(capsys.readouterr().out) == data
    assert data["slots"] == 1
    assert data["ratio"] == pytest.approx(data["many_mb"] / data["one_mb"], abs=0.01)
    assert min(data["one_mb"], data["many_mb"], data["many_in_slots_mb"]) > 20
