"""benchmarks.serving.swaps on the smallest network: every number is measured, and no request fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.inference import bank
from benchmarks.serving import swaps
from benchmarks.serving.swaps import Latency


def test_the_command_measures_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = bank.export("vit_pico_patch8_64")
    monkeypatch.setattr(swaps, "export", lambda model: graph)
    target = tmp_path / "results" / "swaps.json"
    swaps.main(["--swaps", "10", "--clients", "1", "--tasks", "3", "--json", str(target)])
    data = json.loads(target.read_text())
    assert json.loads(capsys.readouterr().out) == data
    for name in ("swap_ms", "swap_beside_requests_ms", "request_ms", "request_beside_swaps_ms"):
        found = data[name]
        assert 0 < found["low"] <= found["p50"] <= found["high"] <= found["p99"] <= found["largest"], name
    assert data["swap_ms"]["count"] == data["swap_beside_requests_ms"]["count"] == 10


def test_percentiles_are_in_milliseconds() -> None:
    latency = Latency.of([second / 1000 for second in range(1, 102)])
    assert latency == Latency(101, 26, 51, 76, 100, 101)
