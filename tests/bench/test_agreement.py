from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from adaptertune_deploy.bench.agreement import Agreement, agreement, joined
from adaptertune_deploy.bench.known import Known
from adaptertune_deploy.core.adapter.reference import KnownAnswers
from adaptertune_deploy.core.bundle.manifest import TaskRecord, tensor_file
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.precision import TOLERANCES, Precision
from tests.serve.fakes import FakeEngine, make_adapters, make_shared, random_images, reference


def make_known(shift: float = 0.0) -> list[Known]:
    """Return what is known of every task of the fake session, each logit moved by `shift`."""
    found = []
    for seed, adapter in enumerate(make_adapters()):
        images = random_images(9 + seed, seed)
        logits = np.stack([reference(image, adapter) for image in images]).astype(np.float32)
        record = TaskRecord(adapter.task, tensor_file(adapter.task.name, "0" * 64), "0" * 64)
        found.append(Known(record, KnownAnswers(images, logits + np.float32(shift))))
    return found


def test_a_session_that_answers_as_torch_agrees_on_every_image() -> None:
    found = agreement(make_shared(), make_known(), Precision.FP32)
    assert (found.images, found.same, found.words) == (9 + 10 + 11, 30, "30 of 30")
    assert found.max_abs < 1e-4
    assert found.holds


@pytest.mark.parametrize(
    ("precision", "shift", "holds"),
    [
        (Precision.FP32, 0.01, False),
        (Precision.BF16, 0.01, True),
        (Precision.BF16, 0.5, False),
        (Precision.INT8, 0.05, True),
        (Precision.INT8, 1.0, False),
    ],
)
def test_the_tolerance_is_that_of_the_precision_and_of_the_worst_task(
    precision: Precision, shift: float, holds: bool
) -> None:
    tolerance = TOLERANCES[precision]
    known = make_known(shift)
    shares = []
    for entry in known:
        allowed = tolerance.atol + tolerance.rtol * np.abs(entry.answers.logits).max()
        shares.append(max(shift / allowed, shift / (tolerance.mean * allowed)))  # every logit is moved alike
    found = agreement(make_shared(), known, precision)
    assert found.of_tolerance == pytest.approx(max(shares), rel=1e-2)
    assert found.max_abs == pytest.approx(shift, rel=1e-2)
    assert found.same == found.images
    assert found.holds is holds


def test_other_first_classes_are_counted() -> None:
    known = make_known()
    other = replace(known[0], answers=KnownAnswers(known[0].answers.images, -known[0].answers.logits))
    found = agreement(make_shared(), [other, known[1]], Precision.FP32)
    assert (found.images, found.same) == (19, 10)
    assert not found.holds


def test_nan_is_an_error_and_no_answer() -> None:
    with pytest.raises(EngineError, match="NaN"):
        agreement(make_shared(FakeEngine(poison=frozenset({1}))), make_known(), Precision.FP32)


def test_parts_come_together() -> None:
    assert joined([Agreement(4, 3, 0.1, 0.9), Agreement(6, 6, 0.2, 0.4)]) == Agreement(10, 9, 0.2, 0.9)
