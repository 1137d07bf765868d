"""What servers are asked: a right answer passes, any other one does not."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from benchmarks.servers.atd import served
from benchmarks.serving import asked
from benchmarks.serving.asked import Row, rows

GOLDEN = Path(__file__).parents[2] / "device" / "golden"
IMAGES = [path.read_bytes() for path in sorted((GOLDEN / "images").iterdir())]


@pytest.fixture(scope="module")
def found() -> list[Row]:
    return rows(GOLDEN / "bundle", IMAGES)


def test_rows_are_known_as_torch_answers_them(found: list[Row]) -> None:
    torch = load_file(GOLDEN / "logits.safetensors")
    assert len(found) == 2 * len(IMAGES)
    for row in found:
        np.testing.assert_allclose(row.logits, torch[row.task][IMAGES.index(row.image)], atol=1e-4)


def test_a_server_is_checked_and_a_wrong_answer_is_found(found: list[Row]) -> None:
    with served(GOLDEN / "bundle") as server:
        for row in found[:4]:
            row.check(server.port)
        wrong = dataclasses.replace(found[0], logits=found[2].logits)
        assert wrong.task == found[2].task
        with pytest.raises(RuntimeError, match=f"{wrong.task}: a logit is off by"):
            wrong.check(server.port)
        with pytest.raises(RuntimeError, match="none: 404"):
            dataclasses.replace(found[0], task="none").check(server.port)


def test_tasks_that_answer_alike_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Alike:
        preprocess, tasks = None, (0, 1)

        def run(self, *_: object) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
            return [np.zeros(3, np.float32)] * 2

        def close(self) -> None:
            pass

    monkeypatch.setattr(asked, "open_session", lambda *_, **__: Alike())
    monkeypatch.setattr(asked, "preprocess", lambda *_: np.zeros((3, 2, 2), np.float32))
    with pytest.raises(RuntimeError, match="two tasks answer alike"):
        rows(GOLDEN, [b""])
