from __future__ import annotations

import numpy as np
import pytest

from adaptertune_deploy.core import bank
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.serve.shared_session import SharedSession
from tests.builders import make_preprocess_spec
from tests.serve.fakes import FakeEngine, indices, make_adapters, make_shared, random_images, reference


def test_a_mixed_batch_is_one_run_and_equals_each_task_alone() -> None:
    engine, adapters, images = FakeEngine(), make_adapters(), random_images(2)
    session = make_shared(engine, adapters)
    image, task = indices(0, 0, 0, 1, 1), indices(2, 0, 1, 1, 0)
    rows = session.run(images, image, task)
    assert len(engine.calls) == 1
    assert set(engine.calls[0]) == {bank.IMAGES, bank.IMAGE, bank.TASK}
    for row, i, t in zip(rows, image, task, strict=True):
        assert row.dtype == np.float32
        np.testing.assert_allclose(row, reference(images[i], adapters[t]), rtol=1e-4, atol=1e-5)


def test_it_says_what_it_is_and_closes_its_engine() -> None:
    engine = FakeEngine(provider="CUDAExecutionProvider")
    session = make_shared(engine)
    assert (session.form, session.provider) == ("shared", "CUDAExecutionProvider")
    assert [task.name for task in session.tasks] == ["pets", "flowers", "digits"]
    session.close()
    assert engine.closed


def test_a_task_without_slots_is_refused() -> None:
    with pytest.raises(FormatError, match="'pets' adapts block 0, but the shared graph has slots after blocks 1"):
        SharedSession(FakeEngine(), make_adapters(), (1, 2, 3), make_preprocess_spec())
