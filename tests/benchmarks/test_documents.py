"""benchmarks.documents: what is written is read again, and every place is in this checkout."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import documents

ROOT = Path(__file__).parents[2]


def test_results_are_written_into_a_new_folder_and_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "RESULTS", tmp_path / "results")
    assert documents.read("speed") is None
    text = documents.write(documents.results("speed"), {"rounds": 3, "ms": [1.5, 2.0]})
    assert text == (tmp_path / "results" / "speed.json").read_text()
    assert text.endswith("}\n")
    assert documents.read("speed") == {"rounds": 3, "ms": [1.5, 2.0]}


def test_places_are_those_of_the_checkout() -> None:
    assert documents.ROOT == ROOT
    assert documents.results("infer") == ROOT / "benchmarks" / "results" / "infer.json"
    assert documents.page("inference") == ROOT / "docs" / "results" / "inference.md"
    assert documents.PICTURES.is_dir()
