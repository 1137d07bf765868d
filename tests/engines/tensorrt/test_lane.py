"""engines.tensorrt.lane: steps of fixed shapes, each captured after its first run, and a bank that never moves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.tensorrt import lane as module
from tests.engines.cuda_double import CudaDouble
from tests.engines.tensorrt.conftest import Open
from tests.engines.tensorrt.double import Faults

SLOTS, WIDTH = (0, 1, 2), 32
IMAGES = np.random.default_rng(0).normal(size=(8, 3, 32, 32)).astype(np.float32)


def ask(opened: Any, slab: Any, images: int, rows: int) -> None:
    feeds = {
        bank.IMAGES: IMAGES[:images],
        bank.IMAGE: np.arange(rows) % images,
        bank.TASK: np.zeros(rows, np.int64),
    }
    opened.run(feeds, slab)


@pytest.fixture
def opened(open_plan: Open, shared: bytes) -> Any:
    return open_plan(shared, max_rows=8)


def slab_of(opened: Any, rank: int = 2) -> Any:
    return opened.allocate(bank.slot_shapes(SLOTS, WIDTH, rank), 2)


def test_a_step_is_given_once_captured_once_and_launched_from_then_on(
    opened: Any, gpu: CudaDouble, faults: Faults
) -> None:
    slab = slab_of(opened)
    asked = []
    for _ in range(4):
        ask(opened, slab, 3, 3)
        asked.append((faults.runs, len(gpu.graphs), gpu.calls.count("cudaGraphLaunch")))
    assert asked == [(2, 1, 0), (2, 1, 1), (2, 1, 2), (2, 1, 3)]


def test_rows_and_images_that_lie_in_one_step_share_it(opened: Any, faults: Faults) -> None:
    slab = slab_of(opened)
    for images, rows in ((3, 3), (4, 4), (3, 4), (4, 3)):
        ask(opened, slab, images, rows)
    assert faults.runs == 2, "one that is given, one that is captured"
    ask(opened, slab, 2, 4)
    assert faults.runs == 4


def test_a_step_copies_its_own_rows_and_no_more(opened: Any, gpu: CudaDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[int, int] = {}
    plain = module.Stream.to_device
    monkeypatch.setattr(
        module.Stream,
        "to_device",
        lambda self, target, source, size: (sent.update({target: size}), plain(self, target, source, size))[1],
    )
    slab = slab_of(opened)
    sent.clear()
    ask(opened, slab, 2, 4)
    assert sorted(sent.values()) == [4 * 8, 4 * 8, 2 * 3 * 32 * 32 * 4]


def test_another_bank_has_contexts_of_its_own_and_takes_them_along(
    opened: Any, gpu: CudaDouble, faults: Faults
) -> None:
    first, second = slab_of(opened), slab_of(opened, 3)
    for slab in (first, second, first, second):
        ask(opened, slab, 1, 2)
    assert (faults.runs, len(gpu.graphs)) == (4, 2)
    del slab, second
    assert len(gpu.graphs) == 1, "a slab that is gone takes its graphs along"


def test_banks_of_host_memory_share_their_place(opened: Any, gpu: CudaDouble, faults: Faults) -> None:
    def feed(tasks: int, rank: int) -> None:
        shapes = bank.slot_shapes(SLOTS, WIDTH, rank)
        held = {name: np.zeros((tasks, *shape), np.float32) for name, shape in shapes.items()}
        opened.run({bank.IMAGES: IMAGES[:2], bank.IMAGE: np.zeros(2, np.int64), bank.TASK: np.arange(2), **held})

    for tasks, rank in ((3, 3), (4, 4), (3, 4)):
        feed(tasks, rank)
    assert faults.runs == 2
    feed(2, 4)
    assert faults.runs == 2, "fewer tasks leave room, and need no other step"
    feed(2, 5)
    assert faults.runs == 4
    for tasks, rank in ((9, 2), (2, 65)):
        with pytest.raises(EngineError, match=rf"at most 8 tasks of rank 64, {tasks} of rank {rank} were given"):
            feed(tasks, rank)


def test_without_cuda_graphs_every_run_is_given(
    open_plan: Open, merged: bytes, gpu: CudaDouble, faults: Faults
) -> None:
    opened = open_plan(merged, cuda_graphs=False)
    for _ in range(3):
        opened.run({bank.IMAGES: IMAGES[:2]})
    assert (faults.runs, len(gpu.graphs)) == (3, 0)
