"""train.parallel.lead: the first process trains with its group, which is given back; real processes: test_help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.core.progress import silent
from adaptertune_deploy.train.parallel import lead
from adaptertune_deploy.train.parallel.launch import Launch
from adaptertune_deploy.train.request import TrainRequest


def test_the_first_process_trains_with_its_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Any] = []

    class Group:
        def __init__(self, launch: Launch) -> None:
            done.append(launch)

        def close(self) -> None:
            done.append("closed")

    def train_task(request: TrainRequest, *given: Any, group: Group) -> str:
        done.append((request, given, type(group)))
        return "result"

    monkeypatch.setattr(lead, "Group", Group)
    monkeypatch.setattr(lead, "train_task", train_task)
    request, launch = TrainRequest("pets", None, tmp_path), Launch(0, 2, 0)
    assert lead.lead_train(request, launch, silent, done.append) == "result"
    assert done == [launch, (request, (silent, done.append), Group), "closed"]
