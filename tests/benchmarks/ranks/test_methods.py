"""benchmarks.ranks.methods: an interrupted benchmark goes on, nothing that another has trained is trained again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ranks import methods
from benchmarks.ranks.methods import OPTIONS, PAGE, RESULTS, WANTED, together
from benchmarks.ranks.methods_page import page
from benchmarks.training.accuracy import DATASETS
from tests.benchmarks.ranks.test_methods_page import make_run


def test_the_page_is_made_of_the_committed_results() -> None:
    if not RESULTS.exists():
        pytest.skip("the benchmark has not been run yet: make bench-methods")
    assert PAGE.read_text() == page(together(json.loads(RESULTS.read_text())["runs"]), list(DATASETS))


def test_what_is_there_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "RESULTS", tmp_path / "runs.json")
    monkeypatch.setattr(methods, "PAGE", tmp_path / "page.md")
    monkeypatch.setattr(methods.accuracy, "RESULTS", tmp_path / "none.json")
    monkeypatch.setattr(methods.auto_rank, "RESULTS", tmp_path / "none.json")
    asked: list[tuple[str, Any]] = []
    again = False

    def train(name: str, seed: int, data: Path, weights: Path, threads: int, options: Any) -> dict[str, Any]:
        asked.append((name, options))
        if len(asked) > 1 and not again:
            raise KeyboardInterrupt
        return make_run(name, {options: way for way, options in OPTIONS.items()}[options])

    monkeypatch.setattr(methods, "train", train)
    words = ["--data", str(tmp_path), "--weights", "file", "--datasets", "pets,tiny-imagenet-50", "--jobs", "1"]
    with pytest.raises(KeyboardInterrupt):
        methods.main(words)
    assert asked[:2] == [("pets", OPTIONS["last"]), ("pets", OPTIONS["full"])]
    asked.clear()
    again = True
    methods.main(words)
    assert asked == [("pets", OPTIONS["full"])] + [
        ("tiny-imagenet-50", OPTIONS[way]) for way in ("last", "auto", "full")
    ]
    runs = json.loads((tmp_path / "runs.json").read_text())["runs"]
    assert [(run["dataset"], run["way"]) for run in runs] == [
        ("pets", "last"),
        ("pets", "full"),
        ("tiny-imagenet-50", "last"),
        ("tiny-imagenet-50", "auto"),
        ("tiny-imagenet-50", "full"),
    ]
    assert "**Not run yet**: pets with `--rank 8`" in (tmp_path / "page.md").read_text()


def test_runs_of_the_other_benchmarks_stand_beside_these(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = {"accuracy": [make_run("pets", "8"), make_run("pets", "8") | {"seed": 1}]}
    others["auto_rank"] = [make_run("pets", "auto"), make_run("pets", "auto:fast")]
    for name, runs in others.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"runs": [run | {"way": None} for run in runs]}))
        monkeypatch.setattr(getattr(methods, name), "RESULTS", tmp_path / f"{name}.json")
    found = together([make_run("pets", "full")])
    assert [(run["way"], run["seed"]) for run in found] == [("8", 0), ("auto", 0), ("full", 0)]
    assert ("pets", "auto") not in WANTED
