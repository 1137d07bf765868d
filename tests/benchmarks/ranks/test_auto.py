"""benchmarks.ranks.auto: an interrupted benchmark goes on, and the page is that of its results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ranks import auto
from benchmarks.ranks.auto import PAGE, RESULTS, WANTED
from benchmarks.ranks.auto_page import page
from tests.benchmarks.ranks.test_auto_page import make_run


def test_the_page_is_made_of_the_committed_results() -> None:
    if not RESULTS.exists():
        pytest.skip("the benchmark has not been run yet: make bench-auto-rank")
    assert PAGE.read_text() == page(json.loads(RESULTS.read_text())["runs"], WANTED)


def test_what_is_there_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auto, "RESULTS", tmp_path / "runs.json")
    monkeypatch.setattr(auto, "PAGE", tmp_path / "page.md")
    asked: list[tuple[str, str]] = []
    again = False

    def train(name: str, seed: int, data: Path, weights: Path, threads: int, options: Any) -> dict[str, Any]:
        asked.append((name, options[1]))
        if len(asked) > 2 and not again:
            raise KeyboardInterrupt
        return make_run(name, options[1])

    monkeypatch.setattr(auto, "train", train)
    words = ["--data", str(tmp_path), "--weights", "file", "--datasets", "flowers,pets", "--jobs", "1"]
    with pytest.raises(KeyboardInterrupt):
        auto.main(words)
    assert asked[:3] == [("pets", "8"), ("pets", "auto"), ("pets", "auto:fast")]
    asked.clear()
    again = True
    auto.main(words)
    assert asked == [("pets", "auto:fast"), ("flowers", "8"), ("flowers", "auto"), ("flowers", "auto:fast")]
    runs = json.loads((tmp_path / "runs.json").read_text())["runs"]
    assert [(run["dataset"], run["asked"]) for run in runs] == [
        pair for pair in WANTED if pair[0] in ("pets", "flowers")
    ]
    assert "**Not run yet**: cifar10 with 8" in (tmp_path / "page.md").read_text()
