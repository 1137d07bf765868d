from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.serve.response_cache import store as module
from adaptertune_deploy.serve.response_cache.digests import digests
from adaptertune_deploy.serve.response_cache.store import OLDEST, OVERHEAD, Store
from adaptertune_deploy.serve.tasks.served_task import ServedTask
from tests.serve.fakes import served

TASKS = served(0, 1, 2)
PETS, FLOWERS, DIGITS = TASKS
IMAGES = digests([bytes([number]) for number in range(6)])


def logits(classes: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=classes).astype(np.float32)


def size(classes: int) -> int:
    return OVERHEAD + 4 * classes


def test_an_answer_comes_back_bit_by_bit_and_can_not_be_written_to() -> None:
    store, kept = Store(10_000), np.array([1.5, -0.0, np.float32(1e-45), 3e38], dtype=np.float32)
    store.put(IMAGES[0], PETS, kept)
    found = store.get(IMAGES[0], PETS)
    assert found is not None
    assert found.dtype == np.float32
    assert found.tobytes() == kept.tobytes()
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 0
    assert store.get(IMAGES[1], PETS) is None
    assert store.get(IMAGES[0], FLOWERS) is None
    assert (len(store), store.used) == (1, size(4))


def test_what_is_kept_is_a_copy_of_the_row_alone() -> None:
    store, batch = Store(10_000), np.stack([logits(3), logits(3, 1)])
    store.put(IMAGES[0], PETS, batch[1])
    batch[:] = 0
    np.testing.assert_array_equal(store.get(IMAGES[0], PETS), logits(3, 1))


def test_the_first_answer_stays() -> None:
    store = Store(10_000)
    store.put(IMAGES[0], PETS, logits(3))
    store.put(IMAGES[0], PETS, logits(3, 1))
    np.testing.assert_array_equal(store.get(IMAGES[0], PETS), logits(3))
    assert store.used == size(3)


def test_what_was_asked_for_least_recently_makes_room() -> None:
    store = Store(2 * size(3))
    for image in IMAGES[:2]:
        store.put(image, PETS, logits(3))
    store.get(IMAGES[0], PETS)
    store.put(IMAGES[2], PETS, logits(3))
    assert [store.get(image, PETS) is not None for image in IMAGES[:3]] == [True, False, True]
    assert (store.evictions, store.used) == (1, store.limit)


def test_an_answer_that_is_larger_than_all_there_may_be_is_not_kept() -> None:
    store = Store(size(3))
    store.put(IMAGES[0], PETS, logits(3))
    store.put(IMAGES[1], PETS, logits(4))
    assert (len(store), store.evictions) == (1, 0)


def test_two_versions_of_one_name_have_nothing_in_common() -> None:
    store, newer = Store(10_000), ServedTask(7, PETS.spec, PETS.version, PETS.digest)
    store.put(IMAGES[0], PETS, logits(3))
    assert store.get(IMAGES[0], newer) is None
    store.forget(PETS)
    store.put(IMAGES[0], newer, logits(3, 1))
    assert not store.free(10)
    np.testing.assert_array_equal(store.get(IMAGES[0], newer), logits(3, 1))
    assert store.used == size(3)


def test_a_forgotten_task_is_found_no_more_and_its_bytes_are_given_back_in_portions() -> None:
    store = Store(100_000)
    for image in IMAGES:
        for task in (PETS, FLOWERS):
            store.put(image, task, logits(3))
    store.forget(PETS)
    assert store.get(IMAGES[0], PETS) is None
    assert store.used == 12 * size(3)
    turns = 1
    while store.free(5):
        turns += 1
    assert (turns, store.used, len(store)) == (3, 6 * size(3), 6)
    assert all(store.get(image, FLOWERS) is not None for image in IMAGES)
    assert not store.free(5)


def test_tasks_that_are_forgotten_while_others_are_freed_are_freed_too() -> None:
    store = Store(100_000)
    for image in IMAGES:
        for task in TASKS:
            store.put(image, task, logits(3))
    store.forget(PETS)
    assert store.free(4)
    store.forget(FLOWERS)
    store.put(digests([b"later"])[0], DIGITS, logits(3))
    while store.free(4):
        pass
    assert store.used == 7 * size(3)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("get"), st.integers(0, 5), st.integers(0, 2)),
        st.tuples(st.just("put"), st.integers(0, 5), st.integers(0, 2), st.integers(1, 400)),
        st.tuples(st.just("forget"), st.integers(0, 2)),
    ),
    max_size=60,
)


@given(limit=st.integers(1, 5 * size(100)), actions=ACTIONS, oldest=st.sampled_from([1, 2, 3, OLDEST]))
def test_it_holds_what_a_list_in_the_order_of_use_would(
    limit: int, actions: list[tuple[object, ...]], oldest: int
) -> None:
    """The model: a list of (image, task, logits), the one that was used last at its end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "OLDEST", oldest)
        compare(Store(limit), actions)


def compare(store: Store, actions: list[tuple[object, ...]]) -> None:
    model: list[tuple[int, int, bytes]] = []
    for number, (kind, *given_) in enumerate(actions):
        if kind == "forget":
            (task,) = given_
            store.forget(TASKS[task])  # type: ignore[call-overload]
            while store.free(3):
                pass
            model = [entry for entry in model if entry[1] != task]
            continue
        image, task = given_[:2]
        known = next((entry for entry in model if entry[:2] == (image, task)), None)
        if kind == "get":
            found = store.get(IMAGES[image], TASKS[task])  # type: ignore[call-overload]
            assert (None if found is None else found.tobytes()) == (known and known[2])
            if known:
                model.remove(known)
                model.append(known)
        elif known is None:
            answer = logits(given_[2], number)  # type: ignore[arg-type]
            store.put(IMAGES[image], TASKS[task], answer)  # type: ignore[call-overload]
            if OVERHEAD + answer.nbytes <= store.limit:
                model.append((image, task, answer.tobytes()))  # type: ignore[arg-type]
                while sum(OVERHEAD + len(entry[2]) for entry in model) > store.limit:
                    model.pop(0)
        assert store.used == sum(OVERHEAD + len(entry[2]) for entry in model) <= store.limit
        assert len(store) == len(model)


@pytest.mark.parametrize("classes", [1, 37, 1000])
def test_the_bytes_that_are_counted_are_no_fewer_than_those_that_are_taken(classes: int) -> None:
    """While it fills, when its tables grow, and when it is full and each answer takes another one's place."""
    store, row = Store(2_000 * size(classes)), logits(classes)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(7_000):
            store.put(digests([number.to_bytes(4, "little")])[0], TASKS[number % 3], row)
            if number % 50 == 0 or number & (number - 1) == 0:
                taken = tracemalloc.get_traced_memory()[0] - before
                assert taken <= store.used + 20_000, number  # what three tasks and an empty store take
        peak = tracemalloc.get_traced_memory()[1] - before
        assert peak <= store.limit + 20_000
        for task in TASKS:
            store.forget(task)
        while store.free(1000):
            pass
        assert store.used == 0
        assert tracemalloc.get_traced_memory()[0] - before < store.limit / 3  # tables stay as large as they were
    finally:
        tracemalloc.stop()
