"""benchmarks.training.accuracy_page: what the page says of runs that would go otherwise now."""

from __future__ import annotations

import json

from benchmarks.training import accuracy
from benchmarks.training.accuracy_page import page


def test_a_run_that_would_go_otherwise_now_says_so() -> None:
    runs = json.loads(accuracy.RESULTS.read_text())["runs"]
    named = [run | {"caveat": "that was longer"} if run["dataset"] == "cifar10" else run for run in runs]
    assert "\n\n**cifar10 0, cifar10 1, cifar10 2**: that was longer.\n" in page(named, accuracy.WANTED)
    plain = [{key: value for key, value in run.items() if key != "caveat"} for run in runs]
    assert "that was longer" not in page(plain, accuracy.WANTED)
