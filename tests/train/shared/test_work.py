"""train.shared.work: what is handed on can be sent, and holds nothing that belongs to one process."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.train.request.request import TrainRequest
from adaptertune_deploy.train.shared.work import setup_of, shared
from tests.train.runs import make_run


def test_a_run_is_sent_without_what_belongs_to_a_process(tmp_path: Path) -> None:
    said: list[object] = []
    run = replace(make_run(), tell=said.append, progress=lambda *step: said.append(step))
    request = TrainRequest("trees", None, tmp_path, weights=tmp_path / "weights", allow_random=True)
    setup = pickle.loads(pickle.dumps(setup_of(run, request)))
    assert (setup.spec, setup.weights, setup.allow_random) == (run.backbone.spec, tmp_path / "weights", True)
    own = (setup.run.backbone, setup.run.checkpoints, setup.run.logs, setup.run.views, setup.run.group)
    assert own == (None,) * 5
    setup.run.tell("nobody hears it")
    setup.run.progress("nor that", 1, 2)
    assert said == []
    assert setup.run.recipe == run.recipe
    images = [next(iter(one.batches(np.arange(8), 1, 0))).images for one in (run, setup.run)]
    assert np.array_equal(*images)


class Sent:
    """A group that keeps what it is to send."""

    def __init__(self) -> None:
        self.values: list[object] = []

    def send(self, value: object) -> None:
        self.values.append(value)


def test_a_run_is_shared_from_its_setup_to_its_end(tmp_path: Path) -> None:
    group: Any = Sent()
    run, request = make_run(), TrainRequest("trees", None, tmp_path)
    with shared(run, request, group) as one:
        assert one.group is group
        assert [type(value).__name__ for value in group.values] == ["Setup"]
    assert group.values[1:] == [None]
    with shared(run, request, None) as alone:
        assert alone is run


def test_a_failure_is_not_taken_for_the_end(tmp_path: Path) -> None:
    group: Any = Sent()
    with pytest.raises(RuntimeError), shared(make_run(), TrainRequest("trees", None, tmp_path), group):
        raise RuntimeError
    assert len(group.values) == 1
