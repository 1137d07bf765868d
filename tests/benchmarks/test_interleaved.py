"""benchmarks.interleaved: every candidate runs in every round, opened afresh as often as asked, closed at the end."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.interleaved import Closeable, Opener, Run, Spread, ratios, time_interleaved


class Candidate:
    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def close(self) -> None:
        self.log.append(f"close {self.name}")


def opener(name: str, log: list[str]) -> Opener:
    def opened() -> tuple[Closeable, Run]:
        log.append(f"open {name}")
        return Candidate(name, log), lambda: log.append(f"run {name}")

    return opened


def test_rounds_and_openings_are_those_asked_for() -> None:
    log: list[str] = []
    seconds = time_interleaved({name: opener(name, log) for name in "abc"}, rounds=7, openings=3)
    assert {name: len(values) for name, values in seconds.items()} == {"a": 7, "b": 7, "c": 7}
    assert Counter(log) == Counter(
        {f"{what} {name}": count for name in "abc" for what, count in (("open", 3), ("close", 3), ("run", 7 + 3))}
    )


def test_every_round_runs_each_candidate_once_in_changing_order() -> None:
    log: list[str] = []
    time_interleaved({name: opener(name, log) for name in "abc"}, rounds=20, openings=1)
    runs = [entry[-1] for entry in log if entry.startswith("run")]
    rounds = ["".join(runs[start : start + 3]) for start in range(0, len(runs), 3)]
    assert all(sorted(entry) == ["a", "b", "c"] for entry in rounds)
    assert len(set(rounds)) > 3


def test_spread_and_ratios() -> None:
    assert Spread.of([4.0, 1.0, 3.0, 2.0, 5.0]) == Spread(3.0, 2.0, 4.0)
    assert ratios([2.0, 6.0, 9.0], [1.0, 2.0, 3.0]) == Spread(3.0, 2.5, 3.0)
    assert str(Spread(1.0, 0.98765, 1.02)) == "1.000 [0.988, 1.020]"
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        ratios([1.0, 2.0], [1.0])
