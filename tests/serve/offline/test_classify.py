from __future__ import annotations

import numpy as np
import pytest

from adaptertune_deploy.core.errors import EngineError, ImageError, UsageError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.serve.offline.classify import classify
from tests.builders import encode, make_image, make_preprocess_spec
from tests.serve.fakes import FakeEngine, make_adapters, make_shared, reference


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    return [encode(make_image(seed=seed)) for seed in range(5)]


def test_every_image_is_answered_for_every_task_in_order(images: list[bytes]) -> None:
    adapters = make_adapters()
    answers = classify(make_shared(adapters=adapters), images, ["flowers", "pets"], top_k=2, max_batch=4)
    expected_order = [(image, task) for image in range(5) for task in ("flowers", "pets")]
    assert [(answer.image, answer.task) for answer in answers] == expected_order
    for answer in answers:
        adapter = next(item for item in adapters if item.task.name == answer.task)
        pixels = preprocess.preprocess(images[answer.image], make_preprocess_spec())
        logits = reference(pixels, adapter)
        assert [label.index for label in answer.top] == np.argsort(-logits)[:2].tolist()
        probabilities = np.exp(logits - logits.max())
        assert answer.top[0].probability == pytest.approx(probabilities.max() / probabilities.sum(), rel=1e-4)


def test_an_engine_run_holds_at_most_max_batch_rows(images: list[bytes]) -> None:
    engine = FakeEngine()
    assert len(classify(make_shared(engine), images, max_batch=6)) == 15
    assert [len(call["task"]) for call in engine.calls] == [6, 6, 3]
    assert [len(call["images"]) for call in engine.calls] == [2, 2, 1]


def test_a_bad_image_is_named(images: list[bytes]) -> None:
    with pytest.raises(ImageError, match=r"^image 2 of 2: the data is no"):
        classify(make_shared(), [images[0], b"text"])
    with pytest.raises(ImageError, match=r"^notes\.txt: the data is no"):
        classify(make_shared(), [b"text"], names=["notes.txt"])


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        (["pet"], "no task 'pet', only pets, flowers, digits. Did you mean 'pets'"),
        (["pets", "pets"], "named twice"),
        ([], "no task was named"),
    ],
)
def test_wrong_tasks_are_refused(images: list[bytes], tasks: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        classify(make_shared(), images, tasks)


def test_no_label_at_all_is_refused(images: list[bytes]) -> None:
    with pytest.raises(UsageError, match="top_k is 0"):
        classify(make_shared(), images, top_k=0)


def test_nan_is_no_answer(images: list[bytes]) -> None:
    with pytest.raises(EngineError, match="'flowers' gave logits that are NaN"):
        classify(make_shared(FakeEngine(poison=frozenset({1}))), images)
