"""benchmarks.wording: tables, spreads, targets and machines in words."""

from __future__ import annotations

import pytest

from benchmarks.wording import at_least, at_most, heading, machine, row, short, spread


def test_a_table() -> None:
    assert heading("model", "ms") == "| model | ms |\n|---|---:|"
    assert heading("family", "name", "MB", "s", text=2) == "| family | name | MB | s |\n|---|---|---:|---:|"
    assert row("a", "", "1") == "| a |  | 1 |"


def test_a_spread() -> None:
    found = {"median": 0.91249, "low": 0.875, "high": 1.0625}
    assert spread(found) == "0.9 [0.9, 1.1]"
    assert spread(found, 3) == "0.912 [0.875, 1.062]"


@pytest.mark.parametrize(
    ("value", "most", "least"),
    [(0.9, "0.95", "0.95, **missed**"), (0.95, "0.95", "0.95"), (1.0, "0.95, **missed**", "0.95")],
)
def test_a_target_is_said_and_that_it_is_missed(value: float, most: str, least: str) -> None:
    assert at_most(value, 0.95) == most
    assert at_least(value, 0.95) == least


def test_a_machine() -> None:
    facts = {"processor": "Chip", "cores": 2, "memory_gb": 8, "python": "3.11.7", "versions": {"numpy": "2.4.6"}}
    assert machine(facts) == "2 cores of Chip, 8 GB; Python 3.11.7, numpy 2.4.6"


def test_a_processor_is_told_by_its_last_feature() -> None:
    assert short("Intel(R) Xeon(R) Processor avx2 amx_bf16 amx_int8") == "Intel(R) Xeon(R) Processor (amx_int8)"
    assert short("Cortex-A78 asimddp") == "Cortex-A78 (asimddp)"
    assert short("Chip") == "Chip"
