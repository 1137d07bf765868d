"""benchmarks.serving.measure for seconds, on a bundle that answers at once: all is measured, and the page says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.servers.tritonserver import NoTritonError
from benchmarks.serving import measure, page

GOLDEN = Path(__file__).parents[2] / "device" / "golden" / "bundle"


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    target = tmp_path_factory.mktemp("serve") / "results" / "serve.json"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measure.Bundles, "make", lambda self, model, tasks, last=0: GOLDEN)
        measure.main(["--models", "golden", "--rounds", "2", "--seconds", "0.03", "--no-triton", "--json", str(target)])
    found: dict[str, Any] = json.loads(target.read_text())
    return found


def test_a_server_is_measured_against_its_engine_and_the_machine(facts: dict[str, Any]) -> None:
    found = facts["capacity"]["golden"]
    assert set(found["engine_per_s"]) == {"1", "2", "4", "8"}
    assert found["batch"] in (1, 2, 4, 8)
    assert 1 <= found["server_batch"] <= 8
    for name in ("budget_per_s", "server_per_s", "to_budget", "to_engine"):
        assert 0 < found[name]["low"] <= found[name]["median"] <= found[name]["high"], name
    best = found["engine_per_s"][str(found["batch"])]["median"]
    assert best == max(spread["median"] for spread in found["engine_per_s"].values())


def test_half_load_is_half_of_what_the_server_gave(facts: dict[str, Any]) -> None:
    found = facts["capacity"]["golden"]
    assert list(found["half_load"]) == ["evenly spaced", "drawn"]
    for half in found["half_load"].values():
        assert half["offered_per_s"]["median"] == pytest.approx(found["server_per_s"]["median"] / 2, abs=1e-3)
        assert half["requests"] > 0
        assert half["p50_ms"] <= half["p99_ms"]
        assert half["to_single"] == pytest.approx(half["p99_ms"] / half["single_ms"]["median"], rel=1e-3)


def test_ways_to_ask_for_five_and_the_memory_of_many(facts: dict[str, Any]) -> None:
    for ways in facts["five_tasks"].values():
        assert list(ways) == ["one request", "five at once", "five in turn"]
        assert ways["five at once"]["to_at_once"] == {"median": 1, "low": 1, "high": 1}
    many = facts["many_tasks"]
    assert many["tasks"] == [2, 2]
    assert many["ratio"]["median"] == pytest.approx(1, abs=0.2)
    assert many["slots"] == 1
    assert 20 < many["in_slots_mb"]["median"] < 1.5 * many["many_mb"]["median"]


def test_a_part_alone_joins_the_others(
    facts: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target, words = tmp_path / "serve.json", ["--models", "golden", "--seconds", "0.03", "--only", "many_tasks"]
    with pytest.raises(SystemExit, match="make bench-serve"):
        measure.main([*words, "--json", str(target)])
    target.write_text(json.dumps({**facts, "many_tasks": None}))
    monkeypatch.setattr(measure.Bundles, "make", lambda self, model, tasks, last=0: GOLDEN)
    with pytest.raises(SystemExit, match="another settings"):
        measure.main([*words, "--rounds", "1", "--json", str(target)])
    measure.main([*words, "--rounds", "2", "--json", str(target)])
    found = json.loads(target.read_text())
    assert {name: found[name] for name in facts if name != "many_tasks"} == {
        name: value for name, value in facts.items() if name != "many_tasks"
    }
    assert found["many_tasks"].keys() == facts["many_tasks"].keys()
    assert json.loads(capsys.readouterr().out) == found


def test_the_page_takes_what_was_written(facts: dict[str, Any]) -> None:
    assert "**Not run**: `make triton-server` was not there." in page.page(facts, None)


def test_without_tritonserver_it_is_said_before_anything_is_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Path:
        raise NoTritonError("no tritonserver in X; make one with: make triton-server")

    monkeypatch.setattr(measure, "package", missing)
    with pytest.raises(SystemExit, match="make triton-server, or leave it out with --no-triton"):
        measure.main([])


def test_bundles_are_made_once_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (graph,) = GOLDEN.glob("backbone-*.onnx")
    exported: list[tuple[str, int]] = []

    def export(model: str, last: int) -> bytes:
        exported.append((model, last))
        return graph.read_bytes()

    monkeypatch.setattr(measure, "_export", export)
    bundles = measure.Bundles(tmp_path)
    first = bundles.make("golden", 1)
    assert bundles.make("golden", 3) != first
    assert bundles.make("golden", 1, last=2) != first
    assert measure.Bundles(tmp_path).make("golden", 1) == first
    assert exported == [("golden", 0), ("golden", 2)]
