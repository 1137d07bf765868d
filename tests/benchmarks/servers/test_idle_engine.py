"""A server whose engine only waits: it answers all the same, and takes as long as it was told."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.engines.options import ON_CPU
from adaptertune_deploy.serve.sessions.session import open_from
from adaptertune_deploy.serve.sessions.warming import warm_up
from benchmarks.servers import idle_engine
from benchmarks.servers.idle_engine import IdleOpener

GOLDEN = Path(__file__).parents[2] / "device" / "golden" / "bundle"


@pytest.fixture
def waited(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr(idle_engine.time, "sleep", found.append)
    return found


def test_runs_take_what_lies_between_those_that_are_known(waited: list[float]) -> None:
    opener = IdleOpener(GOLDEN, read_manifest(GOLDEN), ON_CPU, runs=((1.0, 0.25), (3.0, 0.75)))
    with contextlib.closing(open_from(opener)) as session:
        warm_up(session, 1)
        waited.clear()
        pixels: Any = np.ones((2, 3, *session.preprocess.size), dtype=np.float32)
        keys = np.array(list(session.tasks), dtype=np.int64)
        logits = session.run(pixels, np.arange(2), keys)
        assert waited == [0.5]
        # Features of zeros: what is left are the heads' biases, the same for every image.
        assert all(
            (one == other).all() for one, other in zip(logits, session.run(-pixels, np.arange(2), keys), strict=True)
        )
        assert [len(one) for one in logits] == [len(task.labels) for task in session.tasks.values()]
