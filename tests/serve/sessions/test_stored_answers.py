from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from adaptertune_deploy.core.answers.known_image import NAME, known_image, stored_answer
from adaptertune_deploy.core.answers.stored_answer import StoredAnswer
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.images.preprocess import normalised
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines import table
from adaptertune_deploy.engines.engine_facts import EngineFacts
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.serve.sessions.session import Session, open_session
from adaptertune_deploy.serve.sessions.stored_answers import check_answers
from adaptertune_deploy.serve.sessions.warming import warm_up
from tests.builders import make_preprocess_spec, write_bundle, write_merged
from tests.serve import fakes
from tests.serve.fakes import asked, make_adapters, reference, stand_in

SPEC = make_preprocess_spec()
IMAGE = normalised(known_image(SPEC.size), SPEC)


def answers() -> list[StoredAnswer]:
    """Return what the adapters' own formula says of the image, in float64."""
    return [
        stored_answer(adapter.task.name, reference(IMAGE, adapter).astype(np.float32)) for adapter in make_adapters()
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle of both forms with a stored answer of each task, whose graphs the fake engine opens."""
    monkeypatch.setitem(table.ENGINES, "fake", fakes.ENTRY)
    fakes.OPENED.clear()
    manifest = write_bundle(tmp_path, make_adapters(), graph=stand_in("shared"))
    write_merged(tmp_path, manifest, {record.task.name: stand_in(record.task.name) for record in manifest.tasks})
    store(tmp_path, answers())
    return tmp_path


def store(folder: Path, held: list[StoredAnswer]) -> None:
    manifest = bundle.read_manifest(folder)
    bundle.write_manifest(folder, dataclasses.replace(manifest, answers=tuple(held)))


def opened(folder: Path, form: str = "shared") -> Session:
    return open_session(folder, None, form, EngineOptions("fake"))


@pytest.mark.case("B1", "a task whose stored answer the engine gives", "ready")
@pytest.mark.parametrize("form", ["shared", "merged"])
def test_warm_up_ends_with_every_task_asked_about_the_known_image(folder: Path, form: str) -> None:
    session = opened(folder, form)
    assert [session.answers[key].task for key in session.tasks] == ["pets", "flowers", "digits"]
    warm_up(session, 2)
    last = fakes.OPENED[0].calls[-2 if form == "shared" else -1]
    np.testing.assert_array_equal(last["images"], IMAGE[None])
    if form == "shared":  # three tasks in runs of two rows
        assert [asked(call) for call in fakes.OPENED[0].calls[-2:]] == [[0, 1], [2]]


@pytest.mark.case("B1", "a task that answers otherwise than its bundle says", "the server does not start")
@pytest.mark.parametrize("form", ["shared", "merged"])
def test_a_task_that_answers_otherwise_is_named(folder: Path, form: str) -> None:
    pets, flowers, digits = answers()
    store(folder, [pets, dataclasses.replace(flowers, logits=flowers.logits[::-1]), digits])
    with pytest.raises(EngineError, match=r"^task 'flowers' answers otherwise than its bundle says: logits differ by"):
        warm_up(opened(folder, form), 8)


def test_tasks_without_a_stored_answer_or_with_one_about_another_image_are_passed_over(folder: Path) -> None:
    pets, flowers, _ = answers()
    store(folder, [pets, dataclasses.replace(flowers, image="waves-2", logits=(0.0,) * 5)])
    session = opened(folder)
    warm_up(session, 8)
    assert [answer.task for answer in session.answers.values()] == ["pets"]
    assert asked(fakes.OPENED[0].calls[-1]) == [0]


@dataclasses.dataclass
class One:
    """One task that answers what it is told to."""

    logits: Array
    engine: EngineFacts
    preprocess = SPEC
    answers: Mapping[int, StoredAnswer] = dataclasses.field(
        default_factory=lambda: {0: StoredAnswer("pets", NAME, (10.0, 0.0, -10.0, 0.0))}
    )

    def run(self, images: Array, image: npt.NDArray[np.int64], task: npt.NDArray[np.int64]) -> list[Array]:
        return [self.logits for _ in task]


def passes(shift: Any, precision: Precision = Precision.FP32) -> bool:
    logits = np.array([10.0, 0.0, -10.0, 0.0], dtype=np.float32) + np.asarray(shift, dtype=np.float32)
    try:
        check_answers(One(logits, EngineFacts("fake", "1", "cpu", "cpu", precision)), [0], 1)
    except EngineError:
        return False
    return True


def test_three_times_the_exports_tolerance_is_allowed_and_no_more() -> None:
    """In fp32 3 x (0.0001 + 0.000005 x 10), in int8 3 x (0.05 + 0.15 x 10), of which the mean may be a quarter."""
    assert passes([0, 0.0004, 0, 0])
    assert not passes([0, 0.0005, 0, 0])
    assert passes([4.5, 0, 0, 0], Precision.INT8)
    assert not passes([4.8, 0, 0, 0], Precision.INT8)
    assert not passes([1.3, 1.3, 1.3, 1.3], Precision.INT8)
    assert not passes([np.nan, 0, 0, 0], Precision.INT8)
