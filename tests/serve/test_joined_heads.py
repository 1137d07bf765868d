"""serve.joined_heads: which heads lie side by side, and that each gives its own task's logits there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core import bank
from adaptertune_deploy.core.adapter import Adapter
from adaptertune_deploy.serve.joined_heads import join
from tests.builders import make_adapter, make_backbone_spec, make_task
from tests.serve.fakes import SLOTS, WIDTH, FakeEngine, indices, make_shared, random_images, reference

BACKBONE = make_backbone_spec(WIDTH, len(SLOTS))


def make(*tasks: tuple[int, int, float]) -> list[Adapter]:
    """Return tasks of these ranks, class counts and temperatures."""
    return [
        make_adapter(make_task(f"task{place}", classes, rank, temperature=temperature), BACKBONE, place)
        for place, (rank, classes, temperature) in enumerate(tasks)
    ]


def test_heads_lie_side_by_side_and_adapters_alone() -> None:
    adapters = make((0, 3, 1.0), (2, 4, 1.0), (0, 5, 2.0), (1, 2, 1.0), (0, 2, 1.0))
    rows, places = join(adapters)
    assert [len(row.task.labels) for row in rows] == [3 + 5 + 2, 4, 2]
    assert [row.task.adapter.rank for row in rows] == [0, 2, 1]
    assert places.row.tolist() == [0, 1, 0, 2, 0]
    assert places.columns == (slice(0, 3), slice(0, 4), slice(3, 8), slice(0, 2), slice(8, 10))
    assert (rows[1], rows[2]) == (adapters[1], adapters[3])
    assert places.joined
    assert not join(adapters[:2])[1].joined


@pytest.mark.parametrize(
    ("widest", "found"),
    [(11, [0, 0, 0, 0]), (9, [0, 0, 0, 1]), (6, [0, 0, 1, 1]), (5, [0, 0, 1, 2]), (4, [0, 1, 2, 3]), (1, [0, 1, 2, 3])],
)
def test_no_joined_head_is_wider_than_allowed(widest: int, found: list[int]) -> None:
    adapters = make((0, 2, 1.0), (0, 3, 1.0), (0, 4, 1.0), (0, 2, 1.0))
    assert join(adapters, widest)[1].row.tolist() == found


def test_a_head_that_stands_alone_is_left_as_it_is() -> None:
    adapters = make((0, 3, 1.5))
    assert join(adapters)[0] == adapters


@given(
    tasks=st.lists(
        st.tuples(st.integers(0, 2), st.integers(2, 5), st.sampled_from([0.5, 1.0, 3.0])), min_size=1, max_size=6
    ),
    seed=st.integers(0, 20),
)
def test_every_task_gets_its_own_logits(tasks: list[tuple[int, int, float]], seed: int) -> None:
    adapters, images = make(*tasks), random_images(3)
    generator = np.random.default_rng(seed)
    image, task = generator.integers(0, 3, 9), generator.integers(0, len(tasks), 9)
    rows = make_shared(FakeEngine(), adapters).run(images, image, task)
    for row, i, t in zip(rows, image, task, strict=True):
        assert row.shape == (len(adapters[t].task.labels),)
        np.testing.assert_allclose(row, reference(images[i], adapters[t]), rtol=1e-4, atol=1e-5)


def test_an_image_runs_once_for_all_heads_and_once_for_each_adapter() -> None:
    engine, adapters = FakeEngine(), make((0, 3, 1.0), (2, 4, 1.0), (0, 5, 1.0), (0, 2, 1.0))
    session = make_shared(engine, adapters)
    session.run(random_images(2), indices(0, 0, 0, 0, 1, 1), indices(3, 2, 1, 0, 2, 0))
    (call,) = engine.calls
    assert call[bank.IMAGE].tolist() == [0, 0, 1]
    assert call[bank.TASK].tolist() == [0, 1, 0]
    assert [task.name for task in session.tasks] == ["task0", "task1", "task2", "task3"]
