from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.data.pixels.views import Reduced, Served, make
from adaptertune_deploy.data.samples import FileReader, Split
from tests.builders import encode, make_image, make_preprocess_spec
from tests.data.builders import make_split

SPEC = dataclasses.replace(make_preprocess_spec((16, 16), 0.9), orientation="exif")
SERVED, REDUCED = Served(SPEC), Reduced(40, "exif")


def stored(folder: Path, data: bytes, name: str = "a.jpg") -> Split:
    (folder / name).write_bytes(data)
    return Split((name,), np.zeros(1, np.int64), FileReader(folder))


def photo(size: tuple[int, int], orientation: int = 1, kind: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(make_image(*size), kind, exif=exif)


@pytest.mark.parametrize("orientation", ["exif", "ignored"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_the_served_view_is_what_the_server_prepares(tmp_path: Path, kind: str, orientation: str) -> None:
    data = photo((300, 200), 6, kind)
    spec = dataclasses.replace(SPEC, orientation=orientation)
    (pixels,) = make(stored(tmp_path, data), 0, [Served(spec)], orientation)
    assert (pixels.dtype, pixels.shape) == (np.uint8, (16, 16, 3))
    np.testing.assert_array_equal(preprocess.normalised(pixels, spec), preprocess.preprocess(data, spec), strict=True)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((400, 100), (160, 40)), ((50, 300), (40, 240)), ((30, 20), (30, 20)), ((40, 41), (40, 41))],
)
def test_large_images_are_reduced_to_a_shorter_side(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    split = stored(tmp_path, encode(make_image(*size)))
    (pixels,) = make(split, 0, [REDUCED], "exif")
    assert pixels.shape == (expected[1], expected[0], 3)
    ours = make_image(*size).resize(expected, Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(pixels, np.asarray(ours))


@pytest.mark.parametrize("size", [(70, 60), (400, 200), (333, 99), (640, 480)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_photograph_looks_as_people_see_it(tmp_path: Path, size: tuple[int, int], orientation: int) -> None:
    data = photo(size, orientation)
    (pixels,) = make(stored(tmp_path, data), 0, [REDUCED], "exif")
    with Image.open(io.BytesIO(data)) as image:
        whole = ImageOps.exif_transpose(image).resize((pixels.shape[1], pixels.shape[0]), Image.Resampling.BICUBIC)
    assert min(pixels.shape[:2]) == 40
    assert abs(pixels.astype(int) - np.asarray(whole).astype(int)).mean() < 6


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("size", [(30, 20), (100, 79), (100, 80), (500, 300)])
def test_a_view_is_the_same_whatever_else_is_asked_for(tmp_path: Path, kind: str, size: tuple[int, int]) -> None:
    split = stored(tmp_path, photo(size, 5, kind))
    alone = [make(split, 0, [view], "exif")[0] for view in (SERVED, REDUCED)]
    both = make(split, 0, [SERVED, REDUCED], "exif")
    for one, other in zip(alone, both, strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


def test_pixels_in_memory_have_views_too() -> None:
    split = make_split([1, 1], side=20)
    served, reduced = make(split, 1, [SERVED, REDUCED], "exif")
    np.testing.assert_array_equal(served, preprocess.served_pixels(split.image(1), SPEC))
    np.testing.assert_array_equal(reduced, np.asarray(split.image(1)))


def test_an_image_that_cannot_be_resized_is_named(tmp_path: Path) -> None:
    split = stored(tmp_path, encode(make_image(20_000, 1)), "line.png")
    with pytest.raises(
        DatasetError, match=r"^line\.png: the image has 20000 x 1 pixels, too elongated to resize; repl"
    ):
        make(split, 0, [Served(make_preprocess_spec((224, 224)))], "exif")


def test_facts_name_all_that_decides_the_pixels() -> None:
    def facts(**change: object) -> str:
        return Served(dataclasses.replace(SPEC, **change)).facts  # type: ignore[arg-type]

    changes: list[dict[str, object]] = [
        {},
        {"size": (16, 32)},
        {"crop_pct": 0.5},
        {"crop_mode": "squash"},
        {"interpolation": "bilinear"},
        {"orientation": "ignored"},
    ]
    others = [REDUCED.facts, Reduced(41, "exif").facts, Reduced(40, "ignored").facts]
    assert len({*(facts(**change) for change in changes), *others}) == len(changes) + len(others)
    assert facts(mean=(0.1, 0.1, 0.1), std=(0.2, 0.2, 0.2)) == facts()


def test_totals_are_those_of_the_views() -> None:
    assert SERVED.total(10) == 10 * 16 * 16 * 3
    assert REDUCED.total(10) is None
