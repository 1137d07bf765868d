"""Every candidate runs in every round, opened afresh as often as asked, closed at the end."""

from __future__ import annotations

from collections import Counter

from adaptertune_deploy.bench.interleaved import Closeable, Opener, Run, time_interleaved, time_rounds


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


def test_a_run_is_given_the_time_that_passed_in_it_and_the_first_is_not_counted() -> None:
    now = [0.0]
    taken = {"slow": [9.0, 3.0, 4.0], "fast": [5.0, 1.0, 2.0]}

    def run(name: str) -> Run:
        left = iter(taken[name])
        return lambda: now.__setitem__(0, now[0] + next(left))

    found = time_rounds({name: run(name) for name in taken}, lambda done: done == 2, lambda: now[0])
    assert found == {"slow": [3.0, 4.0], "fast": [1.0, 2.0]}
