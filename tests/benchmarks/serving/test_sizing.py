"""benchmarks.serving.sizing for seconds: the rule is the arithmetic that it says, and the page has what was found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adaptertune_deploy.core.bundle.folder import read_manifest
from benchmarks.serving import sizing

GOLDEN = Path(__file__).parents[2] / "device" / "golden" / "bundle"


def test_the_rule_is_cores_by_milliseconds() -> None:
    assert sizing.possible(2, 8.0) == 250.0
    assert sizing.possible(0.7 * 16, 10.0) == pytest.approx(1120.0)


def test_one_process_is_measured_and_written(tmp_path: Path) -> None:
    target, page = tmp_path / "sizing.json", tmp_path / "sizing.md"
    words = ["--bundle", str(GOLDEN), "--rounds", "2", "--seconds", "0.05", "--no-ray"]
    assert sizing.main([*words, "--json", str(target), "--page", str(page)]) == 0
    found = json.loads(target.read_text())
    (way,) = found["ways"].values()
    cores, cost, client = found["machine"]["cores"], way["cost_ms"], way["client_ms"]
    assert 0 < cost["low"] <= cost["median"] <= cost["high"]
    least, most = (sizing.possible(cores, cost[side] + client[side]) for side in ("high", "low"))
    assert least * 0.999 <= way["predicted_per_s"]["median"] <= most * 1.001
    assert way["half_ms"]["p50"] <= way["half_ms"]["p99"]
    assert sizing.page(found) == page.read_text()
    assert f"| {sizing.ALONE} | " in page.read_text()
    assert found["settings"]["model"] == read_manifest(GOLDEN).backbone.name
