"""train.parallel.lead: the first process works with its group, which is given back; real processes: test_help."""

from __future__ import annotations

from typing import Any

import pytest

from adaptertune_deploy.train.parallel import lead
from adaptertune_deploy.train.parallel.launch import Launch


def test_the_first_process_works_with_its_group(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []

    class Group:
        def __init__(self, launch: Launch) -> None:
            done.append(launch)

        def close(self) -> None:
            done.append("closed")

    def work(group: Any) -> str:
        done.append(type(group))
        return "result"

    monkeypatch.setattr(lead, "Group", Group)
    assert lead.lead(Launch(0, 2, 0), work) == "result"
    assert done == [Launch(0, 2, 0), Group, "closed"]
