"""engines.bank.bank: any mixture of ranks, in any order of coming and going, equals each task run alone."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.adapter.heads import apply, head_of
from adaptertune_deploy.core.bundle.folder import read_graph, read_manifest
from adaptertune_deploy.core.bundle.manifest import select_graph
from adaptertune_deploy.core.errors import EngineError, FormatError
from adaptertune_deploy.engines.bank.bank import FIRST, SlotBank
from adaptertune_deploy.engines.bank.handle import HEAD_ONLY, Handle
from adaptertune_deploy.engines.limits import Limits
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import EngineOptions
from tests.builders import make_adapter, make_backbone_spec, make_task
from tests.serve.fakes import SLOTS, WIDTH, FakeEngine, indices, random_images, reference

GOLDEN = Path(__file__).parents[2] / "device" / "golden" / "bundle"
BACKBONE = make_backbone_spec(WIDTH, len(SLOTS))
IMAGES = random_images(3)


def make(rank: int, seed: int = 0, classes: int = 3, blocks: Sequence[int] = SLOTS) -> Adapter:
    task = make_task(f"task{seed}", classes, rank, blocks, alpha=0.5, temperature=1.5)
    return make_adapter(task, BACKBONE, seed)


def make_bank(engine: FakeEngine | None = None) -> SlotBank:
    return SlotBank(engine or FakeEngine(), SLOTS, WIDTH, WIDTH)


def check(held: SlotBank, rows: Sequence[tuple[int, Adapter, Handle]]) -> None:
    """Assert that rows (image, task, where it lies) in one batch give what each task alone gives, heads applied."""
    image = indices(*(row[0] for row in rows))
    features = held.features(IMAGES, image, [row[2] for row in rows])
    assert (features.dtype, features.shape) == (np.float32, (len(rows), WIDTH))
    heads = [head_of(row[1]) for row in rows]
    for logits, (place, adapter, _) in zip(apply(heads, features, np.arange(len(rows))), rows, strict=True):
        assert logits.shape == (len(adapter.task.labels),)
        np.testing.assert_allclose(logits, reference(IMAGES[place], adapter), rtol=1e-4, atol=1e-5)


# What happens: a task of some rank, blocks and class count comes, replaces another one or goes.
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "replace", "remove"]),
        st.sampled_from([0, 1, 2, 3, 16]),
        st.sets(st.sampled_from(SLOTS), min_size=1),
        st.integers(2, 30),
    ),
    min_size=1,
    max_size=14,
)


@given(events=EVENTS, seed=st.integers(0, 99))
@settings(deadline=None)
def test_any_mixture_equals_each_task_alone(events: list[tuple[str, int, set[int], int]], seed: int) -> None:
    held, draw = make_bank(), np.random.default_rng(seed)
    tasks: list[tuple[Adapter, Handle]] = []
    for number, (event, rank, blocks, classes) in enumerate(events):
        adapter = make(rank, number, classes, sorted(blocks))
        place = int(draw.integers(len(tasks))) if tasks else None
        if event == "write" or place is None:
            tasks.append((adapter, held.write(adapter)))
        elif event == "replace":
            tasks[place] = (adapter, held.write(adapter, tasks[place][1]))
        else:
            held.remove(tasks.pop(place)[1])
        if tasks:
            check(held, [(int(draw.integers(3)), *tasks[index]) for index in draw.integers(0, len(tasks), 6)])
    places = [handle for _, handle in tasks if handle.rank]
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("ranks", [[2], [2, 2, 2], [0, 0], [0, 2, 2], [0], [2, 3], [0, 1, 16]])
def test_a_batch_is_one_run_whatever_its_ranks(ranks: list[int]) -> None:
    engine = FakeEngine()
    held = make_bank(engine)
    tasks = [(adapter, held.write(adapter)) for adapter in (make(rank, seed) for seed, rank in enumerate(ranks))]
    check(held, [(place % 3, *task) for place, task in enumerate(tasks)])
    (call,) = engine.calls
    widest = call["blocks.0.adapter.down.bias"].shape[1]
    assert widest == max(1, *ranks)


def test_rows_of_one_task_get_its_own_tensors_and_nothing_else() -> None:
    engine = FakeEngine()
    held = make_bank(engine)
    tasks = [(adapter, held.write(adapter)) for adapter in (make(2, seed) for seed in range(4))]
    check(held, [(image, *tasks[2]) for image in range(3)])
    (call,) = engine.calls
    for name, value in bank.folded_blocks(tasks[2][0]).items():
        assert np.array_equal(call[name], value[None])


def test_no_task_is_padded_to_the_rank_of_another_one() -> None:
    engine = FakeEngine()
    held = make_bank(engine)
    small = [(adapter, held.write(adapter)) for adapter in (make(1, seed) for seed in range(3))]
    held.write(make(64, 9))
    check(held, [(0, *task) for task in small])
    assert engine.calls[0]["blocks.0.adapter.down.weight"].shape == (FIRST, WIDTH, 1)


def test_what_is_alike_runs_once_and_rows_keep_their_order() -> None:
    engine = FakeEngine()
    held = make_bank(engine)
    one, other, heads = ((adapter, held.write(adapter)) for adapter in (make(2, 0), make(2, 1), make(0, 2)))
    second = (make(0, 3), HEAD_ONLY)
    check(held, [(1, *heads), (0, *one), (1, *second), (0, *one), (2, *other), (1, *one)])
    assert engine.calls[0][bank.IMAGE].tolist() == [1, 0, 2, 1]


@pytest.mark.parametrize("rank", [0, 2, 3])
def test_a_written_slot_changes_only_its_own_tasks_answers(rank: int) -> None:
    held = make_bank()
    tasks = [(adapter, held.write(adapter)) for adapter in (make(kind, seed) for seed, kind in enumerate([2, 2, 0, 3]))]
    before = held.features(IMAGES, indices(0, 0, 0), [tasks[place][1] for place in (0, 2, 3)])
    new = make(rank, 50)
    handle = held.write(new, tasks[1][1])
    assert (handle == tasks[1][1]) == (rank == 2)
    after = held.features(IMAGES, indices(0, 0, 0), [tasks[place][1] for place in (0, 2, 3)])
    np.testing.assert_array_equal(after, before)
    check(held, [(0, new, handle), (0, *tasks[0])])


def test_a_slot_is_given_again_and_what_it_held_is_gone() -> None:
    held = make_bank()
    place = held.write(make(2, 0, blocks=SLOTS))
    held.remove(place)
    small = make(2, 1, blocks=(3,))
    assert held.write(small) == place
    check(held, [(0, small, place)])


def test_what_is_not_there_is_refused() -> None:
    engine = FakeEngine()
    held = make_bank(engine)
    place = held.write(make(2))
    held.remove(place)
    for handle in (place, Handle(2, 0), Handle(5, 1), Handle(2, 99), Handle(0, 1)):
        with pytest.raises(EngineError, match=f"the bank holds no task of rank {handle.rank} in slot {handle.slot}"):
            held.features(IMAGES, indices(0, 0), [HEAD_ONLY, handle])
        with pytest.raises(EngineError, match="the bank holds no task"):
            held.remove(handle)
        with pytest.raises(EngineError, match="the bank holds no task"):
            held.write(make(2), handle)
    for image, handles in ((indices(3), [HEAD_ONLY]), (indices(-1), [HEAD_ONLY]), (indices(0, 0), [HEAD_ONLY])):
        with pytest.raises(EngineError, match=r"'(image|task)'"):
            held.features(IMAGES, image, handles)
    assert engine.calls == []


def test_a_task_that_does_not_fit_changes_nothing() -> None:
    held = make_bank()
    first = (make(2, 0), held.write(make(2, 0)))
    homeless = make_adapter(make_task(blocks=(0, 7)), make_backbone_spec(WIDTH, 8))
    wide = make_adapter(make_task(rank=2), make_backbone_spec(WIDTH + 1, len(SLOTS)))
    for wrong, error in ((homeless, FormatError), (wide, EngineError)):
        for handle in (None, first[1]):
            with pytest.raises(error):
                held.write(wrong, handle)
    check(held, [(0, *first)])
    assert held.write(make(2, 1)) == Handle(2, first[1].slot + 1)


def test_a_bank_grows_and_keeps_its_tasks_and_their_places() -> None:
    engine = FakeEngine()
    held = make_bank(engine)
    tasks = [(adapter, held.write(adapter)) for adapter in (make(1, seed) for seed in range(3 * FIRST))]
    assert [handle for _, handle in tasks] == [Handle(1, 1 + place) for place in range(3 * FIRST)]
    check(held, [(seed % 3, *task) for seed, task in enumerate(tasks)])
    assert len(engine.calls[0]["blocks.0.adapter.up.bias"]) == 4 * FIRST


def test_reserved_room_is_enough_and_not_more() -> None:
    engine = FakeEngine()
    held = make_bank(engine)
    held.reserve([2, 2, 0, 3, 2])
    tasks = [(adapter, held.write(adapter)) for adapter in (make(2, seed) for seed in range(3))]
    held.reserve([0])
    check(held, [(0, *task) for task in tasks])
    assert len(engine.calls[0]["blocks.0.adapter.up.bias"]) == 4
    held.write(make(2, 3))
    held.reserve([2] * 6)
    check(held, [(0, *task) for task in tasks])
    assert len(engine.calls[1]["blocks.0.adapter.up.bias"]) == 8 + 3


@pytest.mark.parametrize("most", [1, 2, 4])
def test_more_rows_than_the_engine_takes_run_in_parts(most: int) -> None:
    engine = FakeEngine(limits=Limits(max_rows=most))
    held = make_bank(engine)
    tasks = [(adapter, held.write(adapter)) for adapter in (make(rank, seed) for seed, rank in enumerate([2, 2, 0, 3]))]
    check(held, [(place % 3, *tasks[place % 4]) for place in range(11)])
    for call in engine.calls:
        assert max(len(call[bank.IMAGES]), len(call[bank.TASK])) <= most
        assert set(call[bank.IMAGE].tolist()) == set(range(len(call[bank.IMAGES])))  # images that are asked about alone


def test_a_bank_grows_as_far_as_the_engine_takes() -> None:
    engine = FakeEngine(limits=Limits(max_rows=4, max_slots=FIRST + 3))
    held = make_bank(engine)
    tasks = [(adapter, held.write(adapter)) for adapter in (make(1, seed) for seed in range(FIRST + 2))]
    more = rf"^fake was opened for {FIRST + 2} tasks of one rank, and of rank 1 there are more; serve fewer tasks$"
    for too_many in (lambda: held.write(make(1, 99)), lambda: held.reserve([1])):
        with pytest.raises(EngineError, match=more):
            too_many()
    held.write(make(2, 50))
    check(held, [(0, *task) for task in tasks[-3:]])
    assert len(engine.calls[0]["blocks.0.adapter.up.bias"]) == FIRST + 3


def test_a_rank_that_the_engine_does_not_take_is_refused() -> None:
    held = make_bank(FakeEngine(limits=Limits(max_rank=4)))
    held.write(make(4))
    with pytest.raises(EngineError, match=r"^fake was opened for ranks up to 4, a task has rank 5$"):
        held.write(make(5))


def test_a_run_in_progress_is_not_disturbed_by_tasks_that_come() -> None:
    engine = FakeEngine()
    held = make_bank(engine)
    tasks = [(adapter, held.write(adapter)) for adapter in (make(1, seed) for seed in range(2))]
    done: list[object] = []

    def ask() -> None:
        check(held, [(0, *tasks[0]), (1, *tasks[1])])
        done.append(True)

    engine.gate.clear()
    thread = threading.Thread(target=ask)
    thread.start()
    engine.wait_entered()
    late = [(adapter, held.write(adapter)) for adapter in (make(rank, rank) for rank in [1] * 3 * FIRST + [5])]
    engine.gate.set()
    thread.join()
    assert done == [True]
    check(held, [(0, *tasks[0]), (1, *late[-2]), (1, *late[0])])


def test_onnx_runtime_gives_the_same_in_a_mixture_and_alone() -> None:
    manifest = read_manifest(GOLDEN)
    spec, draw = manifest.backbone, np.random.default_rng(0)
    engine = open_engine(
        read_graph(GOLDEN, select_graph(manifest, "shared")), "g", EngineOptions(device="cpu", threads=1)
    )
    held = SlotBank(engine, manifest.slots, spec.width, spec.features)
    adapters = [
        make_adapter(make_task(f"task{seed}", rank=rank, blocks=(0, 2)), spec, seed)
        for seed, rank in enumerate([4, 4, 0, 1, 64])
    ]
    handles = [held.write(adapter) for adapter in adapters]
    images, image, task = random_images(3), draw.integers(0, 3, 20), draw.integers(0, 5, 20)
    mixed = held.features(images, image, [handles[index] for index in task])
    for row, (place, index) in enumerate(zip(image, task, strict=True)):
        alone = held.features(images[place : place + 1], indices(0), [handles[index]])[0]
        np.testing.assert_allclose(mixed[row], alone, rtol=1e-4, atol=1e-4)
    same = [row for row in range(20) if task[row] < 3]
    slab = held.features(images, image[same], [handles[index] for index in task[same]])
    np.testing.assert_allclose(slab, mixed[same], rtol=1e-4, atol=1e-4)
    assert np.ptp(mixed, axis=0).max() > 0.1
    engine.close()
