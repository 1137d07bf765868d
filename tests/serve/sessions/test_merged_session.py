from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.limits import Limits
from tests.serve.fakes import indices, make_adapters, make_merged, make_shared, random_images

rows_of_three = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=9)


@given(rows_of_three)
def test_it_answers_as_the_shared_form_does(rows: list[tuple[int, int]]) -> None:
    adapters, images = make_adapters(), random_images(3)
    image, task = indices(*(row[0] for row in rows)), indices(*(row[1] for row in rows))
    merged, engines = make_merged(adapters)
    expected = make_shared(adapters=adapters).run(images, image, task)
    for found, wanted in zip(merged.run(images, image, task), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert [len(engine.calls) for engine in engines] == [int(place in task) for place in range(3)]


def test_images_asked_in_order_are_not_copied() -> None:
    images = random_images(2)
    merged, engines = make_merged()
    merged.run(images, indices(0, 0, 1, 1), indices(0, 1, 0, 1))
    assert engines[0].calls[0][bank.IMAGES] is images


def test_a_batch_larger_than_the_engine_takes_runs_in_parts() -> None:
    images, (merged, engines) = random_images(5), make_merged()
    whole = merged.run(images, indices(0, 1, 2, 3, 4), indices(0, 0, 0, 0, 0))
    engines[0].forget()
    engines[0].limits = Limits(max_rows=2)
    parts = merged.run(images, indices(0, 1, 2, 3, 4), indices(0, 0, 0, 0, 0))
    assert [len(call[bank.IMAGES]) for call in engines[0].calls] == [2, 2, 1]
    np.testing.assert_allclose(parts, whole, rtol=1e-5)  # other kernels take other numbers of rows


def test_it_says_what_it_is_and_closes_every_engine() -> None:
    merged, engines = make_merged()
    assert (merged.form, merged.engine.words) == ("merged", "fake 1 on cpu in fp32")
    merged.close()
    assert all(engine.closed for engine in engines)


@pytest.mark.parametrize("shape", [(1, 3), (2, 2), (2, 4), (3,)])
def test_logits_that_do_not_fit_the_rows_are_an_engine_error(shape: tuple[int, ...]) -> None:
    merged, engines = make_merged()
    engines[0].compute = lambda feeds: np.zeros(shape, dtype=np.float32)
    with pytest.raises(EngineError, match=r"logits of shape .*, expected \[2, 3\]"):
        merged.run(random_images(2), indices(0, 1, 1), indices(0, 0, 1))
