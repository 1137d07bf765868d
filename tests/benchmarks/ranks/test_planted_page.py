"""benchmarks.ranks.planted_page: what was found stands on it, and what missed its target says so."""

from __future__ import annotations

from typing import Any

from benchmarks import documents
from benchmarks.ranks.planted_page import PAGE, page

MACHINE = {"cores": 2, "processor": "Chip", "memory_gb": 8, "python": "3.11", "versions": {"torch": "2.10"}}
CASE = {"rank": 8, "images": 4_000, "decay": 0.85, "seed": 1}


def searched(near: int, regret: float) -> dict[str, Any]:
    accuracies = {"0": 60.0, "2": 64.5, "4": 64.0, "8": 62.0}
    one = {"case": CASE, "tried": [8, 32, 2], "picked": 4, "oracle": 2, "regret": regret, "accuracies": accuracies}
    cases = [one | {"near": place < near} for place in range(16)]
    return {"cases": [*cases, one | {"case": CASE | {"rank": 0}, "picked": 0, "near": True}], "machine": MACHINE}


def seeds(agreeing: int) -> dict[str, Any]:
    one = {"case": CASE, "picked": [4] * 10, "tried": [3] * 10, "centre": 4, "agreeing": agreeing}
    return {"cases": [one], "machine": MACHINE}


def nested(alone: float) -> dict[str, Any]:
    accuracies = {"trained alone": [60.0, alone], "in turn": [59.0, 62.0]}
    cases = [{"case": CASE, "accuracies": accuracies}] * 2
    return {"widths": [1, 32], "cases": cases, "machine": MACHINE}


def cheaper() -> dict[str, Any]:
    found = {"whole": {"picked": 4, "cost": 4.0}, "half": {"picked": 8, "cost": 1.5}}
    null = {"whole": {"picked": 0, "cost": 2.0}, "half": {"picked": 0, "cost": 1.0}}
    cases = [{"case": CASE, "found": found}, {"case": CASE | {"rank": 0}, "found": null}]
    return {"cases": cases, "machine": MACHINE}


def test_the_page_is_made_of_the_committed_results() -> None:
    assert PAGE.read_text() == page(
        *map(documents.read, ("planted_rank", "planted_seeds", "nested_widths", "cheaper_ranks"))
    )


def test_what_was_found_stands_there() -> None:
    text = page(searched(13, 0.5), seeds(8), nested(63.0), cheaper())
    for line in (
        "| 8 | 4,000 | 0.85 | 1 | 8, 32, 2 | 4 | 2 | 0.5 |",
        "- The best rank or one an octave from it: 13 of 16, wanted 13.",
        "- Points of accuracy lost on average: 0.50, wanted at most 0.6.",
        "- Where nothing is planted the head alone was picked in 1 of 1.",
        "| 8 | 4,000 | 0.85 | 4, 4, 4, 4, 4, 4, 4, 4, 4, 4 | 8 of 10: 4 | 8 |",
        "| whole | 3.0 | 2 of 2 | 1 of 1 | 0.50 | 0.5 | 1 of 1 |",
        "| half | 1.2 | 1 of 2 | 0 of 1 | 2.50 | 2.5 | 1 of 1 |",
        "| trained alone | 60.0 | 63.0 | 61.5 |",
        "- In turn loses 1.0 points at most to a width trained alone, wanted at most 3.",
        "- seeds: 2 cores of Chip, 8 GB; Python 3.11, torch 2.10",
    ):
        assert line in text.splitlines(), line
    assert "missed" not in text


def test_what_missed_its_target_says_so() -> None:
    assert page(searched(12, 0.7), seeds(7), nested(66.0), cheaper()).count("**missed**") == 4


def test_what_was_not_run_says_so() -> None:
    text = page(None, None, None, None)
    assert text.count("**Not run yet**") == 4
    assert "Chip" not in text
