from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.inspection.graph import inspect
from tests.engines.onnx_files import lookup

GOLDEN = Path(__file__).parents[1] / "device" / "golden" / "bundle"
SHARED = next(GOLDEN.glob("backbone-*.onnx"))
MERGED = next((GOLDEN / "merged").glob("birds-*.onnx"))


def test_what_a_shared_graph_says() -> None:
    found = inspect(SHARED)
    summary = dict(found.summary)
    assert found.faults == ()
    assert summary["sha256"] == hashlib.sha256(SHARED.read_bytes()).hexdigest()
    assert summary["opset"] == "20, IR version 10"
    assert (summary["precision"], summary["form"]) == ("fp32", "shared, for any task")
    assert summary["slots"] == "after 3 blocks: 0, 1, 2"
    inputs, weights, nodes = found.sheets
    assert [row[1] for row in inputs.rows] == ["images", "image", "task", "12 tensors of the bank", "features"]
    assert [row[:2] for row in weights.rows if str(row[0]).startswith("blocks")] == [
        ("blocks 0", "float32"),
        ("blocks 1 to 2", "float32"),
    ]
    assert nodes.title == f"{sum(found.facts['operators'].values())} nodes"


def test_what_a_merged_graph_says() -> None:
    found = inspect(MERGED)
    assert dict(found.summary)["form"] == "merged, of task birds"
    assert ("blocks 1 to 2, adapters", "float32") in [row[:2] for row in found.sheets[1].rows]
    assert found.facts["says"]["task"]["labels"] == ("birds 0", "birds 1", "birds 2")


def test_a_graph_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "lookup.onnx"
    path.write_bytes(lookup())
    found = inspect(path)
    assert found.facts["says"] is None
    (fault,) = found.faults
    assert "says nothing about its task" in fault


def test_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(SHARED.read_bytes()[:1000])
    with pytest.raises(FormatError, match="not an ONNX file, or a damaged one"):
        inspect(path)
