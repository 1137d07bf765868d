"""The JPEG files of the benchmark: of one size, about as large as real ones, all different, the same every time."""

from __future__ import annotations

from adaptertune_deploy.core.images.preprocess import size_of
from benchmarks.clients.photographs import SIZE, photographs


def test_photographs_are_of_one_size_and_differ() -> None:
    found = photographs(4)
    assert len(set(found)) == 4
    assert {size_of(image) for image in found} == {SIZE}
    assert all(30_000 < len(image) < 80_000 for image in found), [len(image) for image in found]
    assert photographs(2) == found[:2]
