from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.errors import EngineError, FormatError, UsageError
from adaptertune_deploy.serve.sessions.shared_session import SharedSession
from tests.banks import tasks_of
from tests.builders import make_adapter, make_backbone_spec, make_preprocess_spec, make_task
from tests.serve.fakes import (
    SLOTS,
    WIDTH,
    FakeEngine,
    asked,
    indices,
    make_adapters,
    make_merged,
    make_shared,
    random_images,
    reference,
)

Index = npt.NDArray[np.int64]


def test_a_mixed_batch_is_one_run_and_equals_each_task_alone() -> None:
    engine, adapters, images = FakeEngine(), make_adapters(), random_images(2)
    session = make_shared(engine, adapters)
    image, task = indices(0, 0, 0, 1, 1), indices(2, 0, 1, 1, 0)
    rows = session.run(images, image, task)
    assert len(engine.calls) == 1
    assert asked(engine.calls[0]) == [2, 0, 1, 1, 0]
    for row, i, t in zip(rows, image, task, strict=True):
        assert row.dtype == np.float32
        np.testing.assert_allclose(row, reference(images[i], adapters[t]), rtol=1e-4, atol=1e-5)


def test_it_says_what_it_is_and_closes_its_engine() -> None:
    engine = FakeEngine(provider="CUDAExecutionProvider", device="cuda:1")
    session = make_shared(engine)
    assert (session.form, session.engine.provider) == ("shared", "CUDAExecutionProvider")
    assert session.engine.words == "fake 1 on cuda:1 in fp32"
    assert [task.name for task in session.tasks.values()] == ["pets", "flowers", "digits"]
    session.close()
    assert engine.closed


def test_a_task_without_slots_is_refused() -> None:
    session = SharedSession(FakeEngine(), (1, 2, 3), make_backbone_spec(WIDTH), make_preprocess_spec())
    with pytest.raises(FormatError, match="'pets' adapts block 0, but the shared graph has slots after blocks 1"):
        session.put(make_adapters()[0])
    assert not session.tasks


OUT_OF_RANGE = [
    (indices(0, 2), indices(0, 0), "'image' names 0 to 2, but there are 2 only"),
    (indices(-1, 0), indices(0, 0), "'image' names -1 to 0"),
    (indices(0, 1), indices(0, 3), "'task' names 0 to 3, but there are 3 only"),
    (indices(0, 1), indices(0), r"'task' is int64 \[1\], expected int64 \[2\]"),
    (indices(0, 1).astype(np.int32), indices(0, 0), "'image' is int32"),
    (indices(), indices(), "'image' is int64"),
]


@pytest.mark.parametrize(("image", "task", "message"), OUT_OF_RANGE)
def test_rows_that_are_not_there_never_reach_an_engine(image: Index, task: Index, message: str) -> None:
    """Some engines answer them with a plausible wrong row."""
    engine = FakeEngine()
    merged, engines = make_merged()
    for session in (make_shared(engine), merged):
        with pytest.raises(EngineError, match=message):
            session.run(random_images(2), image, task)
    assert not any(held.calls for held in (engine, *engines))


def test_an_image_runs_once_for_all_heads_and_once_for_each_adapter() -> None:
    engine, backbone, images = FakeEngine(), make_backbone_spec(WIDTH, len(SLOTS)), random_images(2)
    adapters = [
        make_adapter(make_task(f"task{place}", classes, rank, temperature=1.5), backbone, place)
        for place, (rank, classes) in enumerate([(0, 3), (2, 4), (0, 5), (0, 2)])
    ]
    image, task = indices(0, 0, 0, 0, 1, 1), indices(3, 2, 1, 0, 2, 0)
    rows = make_shared(engine, adapters).run(images, image, task)
    (call,) = engine.calls
    assert call[bank.IMAGE].tolist() == [0, 0, 1]
    assert tasks_of(call, adapters[:2]) == [0, 1, 0]
    for row, i, t in zip(rows, image, task, strict=True):
        np.testing.assert_allclose(row, reference(images[i], adapters[t]), rtol=1e-4, atol=1e-5)


def test_features_are_what_the_heads_get() -> None:
    adapters, images = make_adapters(), random_images(2)
    session, image, task = make_shared(adapters=adapters), indices(0, 1, 0, 1), indices(0, 1, 2, 0)
    features = session.features(images, image, task)
    assert (features.dtype, features.shape) == (np.float32, (4, WIDTH))
    for row, index in zip(features, task, strict=True):
        tensors = adapters[index].tensors
        wanted = reference(images[image[0]], adapters[index])
        image = image[1:]
        np.testing.assert_allclose(tensors["head.weight"] @ row + tensors["head.bias"], wanted, rtol=1e-4, atol=1e-5)


def test_a_merged_session_has_no_features() -> None:
    session, engines = make_merged()
    with pytest.raises(UsageError, match="a merged graph gives no features, only logits; take --form shared"):
        session.features(random_images(1), indices(0), indices(0))
    assert not any(engine.calls for engine in engines)


@pytest.mark.case("B13", "an engine that answers too few rows", "an error, never somebody else's answer")
@pytest.mark.parametrize("shape", [(1, 8), (2, 3), (16,)])
def test_features_that_do_not_fit_the_rows_are_an_engine_error(shape: tuple[int, ...]) -> None:
    session = make_shared(FakeEngine(lambda feeds: np.zeros(shape, dtype=np.float32)))
    with pytest.raises(EngineError, match=r"features of shape .*, expected \[2, 8\]"):
        session.run(random_images(2), indices(0, 1), indices(0, 1))
