"""export.shared: one graph for every task, filled from the bank."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptertune_deploy.core.adapter import bank, heads
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.bank.bank import SlotBank
from adaptertune_deploy.engines.bank.handle import Handle
from adaptertune_deploy.engines.engine import Engine
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.export.shared import export_shared
from adaptertune_deploy.model.backbone import Backbone
from tests.builders import make_adapter, make_task
from tests.export.conftest import SLOTS, WIDTH, OpenGraph, ask, reference, scaled_adapter

Ask = Callable[[Array, Sequence[int], Sequence[int]], list[Array]]


@pytest.fixture
def engine(shared_graph: bytes, open_graph: OpenGraph) -> Engine:
    return open_graph(shared_graph)


@pytest.fixture(scope="module")
def module_engine(shared_graph: bytes) -> Iterator[Engine]:
    engine = open_engine(shared_graph, "graph", EngineOptions(device="cpu", threads=2))
    yield engine
    engine.close()


@pytest.fixture
def asked(engine: Engine, held: Sequence[Adapter]) -> Ask:
    """Ask the three tasks."""
    return partial(ask, engine, held, SLOTS)


def check(found: Sequence[Array], wanted: Sequence[Array]) -> None:
    """Assert that rows of logits are those of torch."""
    for row, expected in zip(found, wanted, strict=True):
        assert row.dtype == np.float32
        assert row.shape == expected.shape
        assert np.abs(row - expected).max() < 1e-5


@pytest.mark.parametrize("batch", [1, 2, 7, 32])
def test_mixed_tasks_compute_what_torch_computes(asked: Ask, expected: list[Array], images: Array, batch: int) -> None:
    tasks = [row % 3 for row in range(batch)]
    found = asked(images[:batch], range(batch), tasks)
    check(found, [expected[task][row] for row, task in enumerate(tasks)])


def test_a_mixed_batch_equals_its_rows_one_by_one_and_the_merged_graphs(
    asked: Ask, merged_graphs: list[bytes], images: Array, open_graph: OpenGraph
) -> None:
    tasks = np.random.default_rng(3).integers(0, 3, 32).tolist()
    mixed = asked(images, range(32), tasks)
    check(mixed, [asked(images[row : row + 1], [0], [task])[0] for row, task in enumerate(tasks)])
    for task, data in enumerate(merged_graphs):
        rows = [row for row in range(32) if tasks[row] == task]
        found = open_graph(data).run({bank.IMAGES: images[rows]})[bank.LOGITS]
        check([mixed[row] for row in rows], found)


def test_one_image_answers_every_task_in_any_order(asked: Ask, expected: list[Array], images: Array) -> None:
    found = asked(images[5:7], [1, 0, 0, 1, 0], [2, 1, 0, 0, 2])
    check(found, [expected[task][image] for image, task in [(6, 2), (5, 1), (5, 0), (6, 0), (5, 2)]])


def test_a_new_task_is_a_new_bank_and_no_new_graph(
    engine: Engine, backbone: Backbone, held: Sequence[Adapter], images: Array
) -> None:
    late = scaled_adapter(make_adapter(make_task("late", classes=17, rank=9, blocks=(1,)), backbone.spec, seed=9))
    check(ask(engine, [*held, late], SLOTS, images[:2], [0, 1], [3, 3]), reference(backbone, late, images[:2]))


@pytest.fixture(scope="module")
def pool(backbone: Backbone, images: Array) -> list[tuple[Adapter, Array]]:
    """Tasks of many ranks, blocks and class counts, each with torch's logits [32, C]."""
    shapes = [
        (0, 3, SLOTS),
        (0, 40, SLOTS),
        (1, 2, (1,)),
        (4, 5, SLOTS),
        (4, 7, (2,)),
        (4, 3, (0, 1)),
        (16, 1000, SLOTS),
    ]
    adapters = [
        scaled_adapter(make_adapter(make_task(f"task{seed}", *rest, alpha=0.5, temperature=1.5), backbone.spec, seed))
        for seed, rest in enumerate((classes, rank, blocks) for rank, classes, blocks in shapes)
    ]
    return [(adapter, reference(backbone, adapter, images)) for adapter in adapters]


@given(data=st.data())
@settings(deadline=None, max_examples=25)
def test_slots_that_come_and_go_compute_what_torch_computes(
    module_engine: Engine, pool: list[tuple[Adapter, Array]], images: Array, data: st.DataObject
) -> None:
    held = SlotBank(module_engine, SLOTS, WIDTH, WIDTH)
    lie: dict[int, Handle] = {}  # task of the pool -> where
    for _ in range(data.draw(st.integers(1, 6))):
        task = data.draw(st.integers(0, len(pool) - 1))
        event = data.draw(st.sampled_from(["write", "replace", "remove"]))
        if event == "remove" and task in lie:
            held.remove(lie.pop(task))
        elif event == "replace" and lie:
            lie[task] = held.write(pool[task][0], lie.pop(next(iter(lie))))
        else:
            lie[task] = held.write(pool[task][0], lie.get(task))
    rows = [(image, task) for image, task in enumerate(data.draw(st.lists(st.sampled_from([*lie] or [0]), max_size=8)))]
    rows = [row for row in rows if row[1] in lie]
    if rows:
        image, tasks = np.array([row[0] for row in rows], np.int64), [row[1] for row in rows]
        features = held.features(images[: len(rows)], image, [lie[task] for task in tasks])
        found = heads.apply([heads.head_of(adapter) for adapter, _ in pool], features, np.array(tasks))
        check(found, [pool[task][1][place] for place, task in rows])


def test_one_task_of_rank_one_is_a_bank_too(engine: Engine, backbone: Backbone, images: Array) -> None:
    small = scaled_adapter(make_adapter(make_task("small", classes=2, rank=1, blocks=(0,)), backbone.spec, seed=4))
    check(ask(engine, [small], SLOTS, images[:1], [0], [0]), reference(backbone, small, images[:1]))


@pytest.mark.parametrize("others", [True, False])
def test_heads_only_are_rows_like_any_other(
    engine: Engine, backbone: Backbone, held: Sequence[Adapter], expected: list[Array], images: Array, others: bool
) -> None:
    """Beside adapters, and in a bank that holds nothing else."""
    late = [
        make_adapter(make_task(f"head{seed}", 4 + seed, rank=0, temperature=1.5 + seed), backbone.spec, seed)
        for seed in range(2)
    ]
    before = held if others else ()
    first = len(before)
    rows = [(0, first), (1, first + 1), (2, first), (3, 0), (0, first + 1)]
    found = ask(engine, [*before, *late], SLOTS, images[:4], *zip(*rows, strict=True))
    wanted = [*(expected if others else ()), *(reference(backbone, head, images[:4]) for head in late)]
    check(found, [wanted[task][image] for image, task in rows])


def test_a_task_or_image_that_is_not_there_is_an_error(asked: Ask, images: Array) -> None:
    with pytest.raises(EngineError, match="out of data bounds"):
        asked(images[:1], [0], [3])
    with pytest.raises(EngineError, match="out of data bounds"):
        asked(images[:1], [1], [0])


def test_the_frozen_part_before_the_first_slot_runs_once_per_image(
    backbone: Backbone, held: Sequence[Adapter], expected: list[Array], images: Array, open_graph: OpenGraph
) -> None:
    data = export_shared(backbone, (2,))
    graph = onnx.load_from_string(data).graph
    makers = {output: node for node in graph.node for output in node.output}
    (gather,) = (node for node in graph.node if list(node.input)[1:] == [bank.IMAGE])
    seen, pending = set(), [gather.output[0]]
    while pending:
        name = pending.pop()
        if name in makers and name not in seen:
            seen.add(name)
            pending += makers[name].input
    before = [makers[name].op_type for name in seen]
    assert before.count("Softmax") == 3  # the attention of blocks 0, 1 and 2
    assert bank.TASK not in {entry for name in seen for entry in makers[name].input}
    check(ask(open_graph(data), [held[1]], (2,), images[:3], [2, 2, 0], [0, 0, 0]), expected[1][[2, 2, 0]])


def test_the_graph_names_its_backbone_and_slots(backbone: Backbone, shared_graph: bytes, open_graph: OpenGraph) -> None:
    facts = graph_facts.from_metadata(open_graph(shared_graph).metadata, "backbone.onnx")
    assert facts.slots == SLOTS
    assert facts.task is None
    assert (facts.backbone, facts.preprocess) == (backbone.spec, backbone.preprocess)
