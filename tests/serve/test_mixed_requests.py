"""Requests that come together, over a numpy engine: answers, runs, and what one bad request does to the others."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from adaptertune_deploy.core.errors import AtdError, EngineError, ImageError, RequestError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.serve.mixed_requests import Answered, Asked, MixedRequests
from tests.builders import encode, make_image, make_preprocess_spec
from tests.serve.fakes import FakeEngine, make_adapters, make_shared, reference

IMAGES = tuple(encode(make_image(seed=seed)) for seed in range(3))
ADAPTERS = {adapter.task.name: adapter for adapter in make_adapters()}


def expected(image: bytes, task: str) -> np.ndarray:
    return reference(preprocess.preprocess(image, make_preprocess_spec()), ADAPTERS[task])


def check(asked: Asked, answered: Answered | AtdError) -> None:
    """Assert that an answer is what torch's formula gives, padded so that a softmax stays right."""
    assert isinstance(answered, Answered)
    for row, (image, task) in enumerate(zip(asked.images, asked.tasks, strict=True)):
        logits = expected(image, task)
        np.testing.assert_allclose(answered.logits[row, : len(logits)], logits, atol=1e-5)
        assert (answered.logits[row, len(logits) :] == -np.inf).all()
        probabilities = np.exp(answered.logits[row] - answered.logits[row].max())
        probabilities /= probabilities.sum()
        assert answered.labels[row] == ADAPTERS[task].task.labels[int(np.argmax(logits))]
        assert answered.probabilities[row] == pytest.approx(probabilities.max(), rel=1e-5)


def test_requests_of_several_tasks_are_one_run() -> None:
    engine = FakeEngine()
    requests = [
        Asked(IMAGES[:1], ("pets",)),
        Asked((IMAGES[1], IMAGES[1], IMAGES[0]), ("flowers", "digits", "flowers")),
        Asked(IMAGES[2:], ("digits",)),
    ]
    mixed = MixedRequests(make_shared(engine))
    for asked, answered in zip(requests, mixed.answer(requests), strict=True):
        check(asked, answered)
    (call,) = engine.calls
    assert (len(call["task"]), len(call["images"])) == (5, 3)  # an image that two rows ask about is copied once
    mixed.close()
    assert engine.closed


def test_a_bad_request_spoils_no_other() -> None:
    mixed = MixedRequests(make_shared())
    requests = [
        Asked((b"no image",), ("pets",)),
        Asked(IMAGES[:1], ("pets",)),
        Asked((IMAGES[0], b"no image"), ("pets", "pets")),
        Asked(IMAGES[:1], ("pet",)),
        Asked(IMAGES[:2], ("digits", "flowers")),
    ]
    first, second, third, fourth, fifth = mixed.answer(requests)
    assert isinstance(first, ImageError)
    assert isinstance(third, ImageError)
    assert isinstance(fourth, RequestError)
    assert str(fourth) == "no task 'pet', only pets, flowers, digits. Did you mean 'pets'?"
    check(requests[1], second)
    check(requests[4], fifth)
    mixed.close()


def test_nothing_to_run() -> None:
    engine = FakeEngine()
    mixed = MixedRequests(make_shared(engine))
    (found,) = mixed.answer([Asked((b"",), ("pets",))])
    assert isinstance(found, ImageError)
    assert mixed.answer([]) == []
    assert engine.calls == []
    mixed.close()


def test_an_engine_that_fails_is_everybodys_error() -> None:
    engine = FakeEngine()
    mixed = MixedRequests(make_shared(engine))
    engine.error = EngineError("out of memory")
    good, bad = mixed.answer([Asked(IMAGES[:1], ("pets",)), Asked(IMAGES[:1], ("cats",))])
    assert str(good) == "out of memory"
    assert str(bad).startswith("no task 'cats'")
    mixed.close()


class Held:
    """What a server holds for as long as its requests: Triton's own objects, say, whose memory others wait for."""


@pytest.mark.parametrize(("image", "task"), [(b"no image", "pets"), (IMAGES[0], "pet"), (IMAGES[0], "pets")])
def test_an_error_keeps_nothing_of_its_caller(image: bytes, task: str) -> None:
    """An exception refers to the frames that it passed and, through them, to those that called them."""
    engine = FakeEngine()
    mixed = MixedRequests(make_shared(engine))
    engine.error = EngineError("out of memory")

    def ask() -> tuple[weakref.ref[Held], list[Answered | AtdError]]:
        held = Held()
        return weakref.ref(held), mixed.answer([Asked((image,), (task,))])

    gc.collect()
    gc.disable()
    try:
        watched, found = ask()
        assert isinstance(found[0], AtdError)
        assert watched() is None
    finally:
        gc.enable()
    mixed.close()


def test_nan_is_withheld_from_whom_it_concerns() -> None:
    mixed = MixedRequests(make_shared(FakeEngine(poison=frozenset({1}))))
    requests = [Asked(IMAGES[:1], ("pets",)), Asked(IMAGES[:1], ("flowers",))]
    good, bad = mixed.answer(requests)
    check(requests[0], good)
    assert isinstance(bad, EngineError)
    mixed.close()


def test_as_many_tasks_as_images() -> None:
    with pytest.raises(RequestError, match="2 images and 1 tasks, expected one task an image"):
        Asked(IMAGES[:2], ("pets",))
