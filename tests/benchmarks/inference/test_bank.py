"""benchmarks.inference.bank on the smallest network: every number is measured, and memory counts what it should."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adaptertune_deploy.engines.options import ON_CPU
from benchmarks.inference import bank
from benchmarks.inference.bank import Kind


@pytest.fixture(scope="module")
def graph() -> bytes:
    return bank.export("vit_pico_patch8_64")


def test_the_command_measures_all_of_it(
    tmp_path: Path, graph: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bank, "export", lambda model: graph)
    target = tmp_path / "results" / "bank.json"
    bank.main(["--rounds", "2", "--tasks", "20", "--sessions", "2", "--json", str(target)])
    data = json.loads(target.read_text())
    assert json.loads(capsys.readouterr().out) == data
    assert list(data["cpu_time"]) == ["10 tasks", "20 tasks", "20 tasks, two of them large"]
    assert data["cpu_time"]["10 tasks"] == {"median": 1, "low": 1, "high": 1}
    assert 0 < data["replace_ms"]["low"] <= data["replace_ms"]["median"] <= data["replace_ms"]["high"]
    memory = data["memory_mb"]
    assert memory["sessions_of_one_task"] > memory["one_task"] > 10
    assert memory["100_sessions_at_that_rate"] > memory["sessions_of_one_task"]


def test_a_tasks_own_size_is_that_of_its_tensors(graph: bytes, tmp_path: Path) -> None:
    engine = bank.open_engine(graph, "g", ON_CPU)
    bench = bank.Bench.fill(engine, [Kind(8, 37, 3), Kind(2, 5, 1)])
    slots = tuple(range(bench.spec.depth))
    width = bench.spec.width
    numbers = len(slots) * (2 * width * 8 + 8 + width) + 37 * (bench.spec.features + 1)
    assert bank.own_mb(bench.spec, slots, Kind(8, 37, 1)) == pytest.approx(4 * numbers / 1e6)
    assert len(bench.small) == 3
    assert [end.weight.shape[1] for end in bench.ends] == [37, 37, 37, 5]
    logits = bench.rows()()
    assert isinstance(logits, list)
    assert [row.shape for row in logits] == [(37,)] * bank.ROWS
    engine.close()


def test_kinds_are_read_as_they_are_written() -> None:
    assert Kind.parse(str(Kind(8, 37, 999))) == Kind(8, 37, 999)
