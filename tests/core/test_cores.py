from __future__ import annotations

import os

import pytest

from adaptertune_deploy.core import cores


@pytest.mark.parametrize(
    ("files", "allowed"),
    [
        ({cores.QUOTA: "250000 100000\n"}, 2.5),
        ({cores.QUOTA: "max 100000\n"}, None),
        ({cores.OLD_QUOTA: "200000\n", cores.OLD_PERIOD: "100000\n"}, 2),
        ({cores.OLD_QUOTA: "-1\n", cores.OLD_PERIOD: "100000\n"}, None),
        ({cores.QUOTA: "100000 0\n"}, None),
        ({}, None),
    ],
)
def test_a_control_group_may_allow_less(files: dict[str, str], allowed: float | None) -> None:
    assert cores.quota(files.get) == allowed


@pytest.mark.parametrize(("there", "allowed", "left"), [(8, None, 8), (8, 2.5, 2), (8, 0.5, 1), (2, 6.0, 2)])
def test_a_quota_leaves_whole_cores_and_at_least_one(there: int, allowed: float | None, left: int) -> None:
    assert cores.within(there, allowed) == left


def test_logical_cores_of_one_physical_core_count_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 4, 5}, raising=False)
    pairs = {cores.SIBLINGS.format(core): f"{core % 4},{core % 4 + 4}\n" for core in range(8)}
    assert cores.physical(pairs.get) == 2
    assert cores.usable(pairs.get) == 4
    assert cores.physical({**pairs, cores.QUOTA: "100000 100000"}.get) == 1
    assert cores.physical({}.get) == 4  # a system that does not say


def test_the_cores_of_this_process() -> None:
    assert cores.usable({}.get) == len(os.sched_getaffinity(0))
    assert cores.usable({cores.QUOTA: "100000 100000"}.get) == 1
