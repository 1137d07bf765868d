"""benchmarks.robustness.soak_page: the page says what the results say, and where a target is missed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.robustness import soak_page

FACTS: dict[str, Any] = {
    "machine": {"processor": "Chip", "cores": 2, "memory_gb": 8, "python": "3.11", "versions": {"numpy": "2.0"}},
    "capacity_rows_per_s": {"before": 50.0, "after": 51.0},
    "overload": {
        "seconds": 600.0, "sent": 60_000, "not_sent": 0, "rows_per_s": 48.0, "wrong": [], "attacks_wrong": [],
        "statuses": {"503": 31_200, "200": 28_800}, "attacks": {"noise": {"400": 7}}, "memory_growth_mb": 1.25,
    },
    "health": {"probes": 6000, "failed": 0, "p50_ms": 1.0, "p99_ms": 5.0, "max_ms": 42.0},
    "noisy_neighbour": {
        "nothing": {"alone_p99_ms": 20.0, "beside_p99_ms": 38.0, "quiet": {"200": 9}, "wrong": [], "noisy": {}},
        "--threads 1": {"alone_p99_ms": 20.0, "beside_p99_ms": 39.0, "quiet": {"200": 9}, "wrong": [], "noisy": {}},
        "--threads 1 --max-batch 8": {
            "alone_p99_ms": 20.0, "beside_p99_ms": 40.0, "quiet": {"200": 9, "503": 1}, "wrong": [], "noisy": {},
        },
    },
}  # fmt: skip


def test_the_page_says_what_was_measured() -> None:
    text = soak_page.page(FACTS)
    for line in (
        "## 600 seconds",
        "| requests sent | 60,000, 100.0 a second | |",
        "| answers | 28,800 x 200, 31,200 x 503 | 200 and 503 alone |",
        "| goodput to capacity | 48.0 rows/s = 0.960 | at least 0.95 |",
        "| wrong answers | 0 | 0 |",
        "| good requests whose connection was closed without one | 0 | 0 |",
        "| health, longest of 6,000 | 42.0 ms | 100 |",
        "| memory, last quarter above the second | 1.2 MB | 16 |",
        "| noise | 7 x 400 |",
        "| nothing | 20.0 ms | 38.0 ms | 1.90 | 2 | 0 |",
        "| --threads 1 --max-batch 8 | 20.0 ms | 40.0 ms | 2.00 | 2 | 1 |",
        "2 cores of Chip, 8 GB; Python 3.11, numpy 2.0",
    ):
        assert line in text.splitlines(), line
    assert "missed" not in text


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("overload", "rows_per_s", 47.0),
        ("overload", "wrong", ["pets: classes []"]),
        ("overload", "wrong", ["0: b\"IncompleteReadError('0 bytes read')\""]),
        ("overload", "attacks_wrong", ["noise: 500"]),
        ("overload", "memory_growth_mb", 17.0),
        ("health", "max_ms", 101.0),
        ("health", "failed", 1),
        ("noisy_neighbour", "nothing", {**FACTS["noisy_neighbour"]["nothing"], "beside_p99_ms": 41.0}),
    ],
)
def test_what_misses_its_target_says_so(part: str, name: str, value: Any) -> None:
    text = soak_page.page({**FACTS, part: {**FACTS[part], name: value}})
    assert text.count("**missed**") == 1


def test_a_neighbour_of_before_is_said_to_be_that() -> None:
    assert "**These were measured before**" not in soak_page.page(FACTS)
    former = {"noisy_neighbour": {"8": FACTS["noisy_neighbour"]["nothing"]}}
    assert "**These were measured before**" in soak_page.page({**FACTS, **former})


def test_the_command_writes_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(soak_page, "RESULTS", tmp_path / "soak.json")
    monkeypatch.setattr(soak_page, "PAGE", tmp_path / "soak.md")
    with pytest.raises(SystemExit, match="run make soak"):
        soak_page.main()
    (tmp_path / "soak.json").write_text(json.dumps(FACTS))
    soak_page.main()
    assert (tmp_path / "soak.md").read_text() == soak_page.page(FACTS)


def test_an_attack_that_finds_no_room_is_answered_rightly() -> None:
    text = soak_page.page({**FACTS, "overload": {**FACTS["overload"], "attacks_wrong": ["a gzip bomb: 503"]}})
    assert "| wrong answers | 0 | 0 |" in text.splitlines()


def test_the_page_is_made_from_the_results() -> None:
    assert soak_page.PAGE.read_text() == soak_page.page(json.loads(soak_page.RESULTS.read_text()))
