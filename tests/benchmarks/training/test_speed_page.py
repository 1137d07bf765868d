"""benchmarks.training.speed_page: ratios, parts and misses in words; what was not measured is said."""

from __future__ import annotations

from typing import Any

from benchmarks.training.speed_page import page

MACHINE = {"cores": 2, "processor": "a processor", "memory_gb": 25, "python": "3.11", "versions": {"torch": "2.10.0"}}


def spread(median: float) -> dict[str, float]:
    return {"median": median, "low": 0.9 * median, "high": 1.1 * median}


def row(loop: str, placement: str, step: float, faster: float) -> dict[str, Any]:
    parts = {"load": 40.0, "frozen": 100.0, "forward": 130.0, "gradient": 330.0, "update": 335.0, "step": step}
    return {
        "loop": loop,
        "placement": placement,
        "milliseconds": {name: spread(value) for name, value in parts.items()},
        "faster": spread(faster),
        "faster_than_same": spread(faster / 2),
    }


def steps() -> dict[str, Any]:
    settings = {
        "backbone": "deit",
        "rank": 8,
        "batch": 32,
        "threads": 2,
        "rounds": 15,
        "clock": "wall",
        "precision": "bf16",
    }
    rows = [row("reference", "all", 960.0, 1.0), row("product", "all", 240.0, 4.0)]
    return {
        "settings": settings,
        "rows": [*rows, row("product", "last:4, fixed views", 120.0, 8.0)],
        "machine": MACHINE,
    }


def test_steps_their_parts_and_what_is_missed() -> None:
    lines = page({"a processor avx2": {"steps": steps()}, "another": {}}).splitlines()
    assert [line for line in lines if line.startswith("## ")] == ["## a processor (avx2)", "## another"]
    assert "| all | reference | 960 [864, 1056] | 30.0 | 1.00 [0.90, 1.10] | 0.50 [0.45, 0.55] |  |" in lines
    assert "| all | product | 240 [216, 264] | 7.5 | 4.00 [3.60, 4.40] | 2.00 [1.80, 2.20] | 3 |" in lines
    assert any(
        line.startswith("| last:4, fixed views | product | 120") and "| 10, **missed** |" in line for line in lines
    )
    assert lines.count("| all | product | 40 | 100 | 30 | 200 | 5 |") == 1
    assert "- steps: 2 cores of a processor, 25 GB; Python 3.11, torch 2.10.0" in lines
    assert lines.count("**Not run yet**: `make bench-train`, on a quiet machine.") == 3  # all but these steps


def test_commands_with_what_they_reached() -> None:
    scores = {"right": 90, "top1": 0.9, "top1_interval": [0.85, 0.94]}
    command = {
        "dataset": "flowers",
        "options": "--placement all",
        "images": 2040,
        "seconds": 200.4,
        "facts": {"adapter": scores, "head": scores},
        "machine": MACHINE,
    }
    text = page({"a processor": {"commands": [command, {**command, "dataset": "cifar10"}]}})
    assert "| flowers | `--placement all` | 2,040 | 200 | 180, **missed** | 90 = 90.0 % [85.0, 94.0] |" in text
    assert "| cifar10 | `--placement all` | 2,040 | 200 | 240 |" in text


def test_nothing_measured_is_said() -> None:
    assert page({"a processor": {}}).count("**Not run yet**") == 2
