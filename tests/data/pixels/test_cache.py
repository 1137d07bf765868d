from __future__ import annotations

import dataclasses
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.data.pixels import cache as pixels
from adaptertune_deploy.data.pixels.cache import CHUNK, WHAT, PixelCache
from adaptertune_deploy.data.pixels.shelf import SUFFIX
from adaptertune_deploy.data.samples import ArrayReader, FileReader, Split
from tests.builders import encode, make_image, make_preprocess_spec
from tests.data.builders import make_split, save_image

SPEC = dataclasses.replace(make_preprocess_spec((8, 8), 0.9), orientation="exif")
SERVED_BYTES = 8 * 8 * 3


class CountingReader(ArrayReader):
    """Counts how often each image is decoded."""

    def image(self, name: str, orientation: str = "exif", at_least: int | None = None) -> Image.Image:
        READS.append(name)
        return super().image(name, orientation, at_least)


READS: list[str] = []


def counted(counts: list[int]) -> Split:
    READS.clear()
    split = make_split(counts, side=10)
    return Split(split.names, split.targets, CountingReader(split.reader.pixels))  # type: ignore[attr-defined]


def check(cache: PixelCache, split: Split, reduced: bool = True) -> None:
    for row in range(len(split)):
        image = split.image(row)
        np.testing.assert_array_equal(cache.served(split, row), preprocess.served_pixels(image, SPEC), strict=True)
        if reduced:
            assert cache.reduced(split, row).tobytes() == image.tobytes()


def test_an_image_is_decoded_once_for_every_view_part_and_run(tmp_path: Path) -> None:
    split = counted([40, 30])
    cache = PixelCache(SPEC, tmp_path)
    assert cache.fill(split, reduced=True) == {}
    assert sorted(READS) == sorted(split.names)
    part = split.take([5, 3, 60])
    assert cache.fill(part, reduced=True) == {}
    later = PixelCache(SPEC, tmp_path)
    assert later.fill(split, reduced=True) == {}
    assert (cache.notes, later.notes) == ((), ())
    for found in (cache, later):
        for row in range(3):
            found.served(part, row)
            found.reduced(part, row)
    assert len(READS) == 70
    for found in (cache, later):
        check(found, split)
        check(found, part)


def test_one_file_a_view(tmp_path: Path) -> None:
    split = make_split([3, 2])
    PixelCache(SPEC, tmp_path).fill(split)
    assert [Path(name).suffix for name in os.listdir(tmp_path)] == [SUFFIX]
    PixelCache(SPEC, tmp_path).fill(split, reduced=True)
    assert len(os.listdir(tmp_path)) == 2


def test_copies_are_kept_once(tmp_path: Path) -> None:
    one = np.full((4, 4, 3), 7, np.uint8)
    names = tuple(f"copy {number}" for number in range(50))
    split = Split(names, np.zeros(50, np.int64), ArrayReader(dict.fromkeys(names, one)))
    cache = PixelCache(SPEC, tmp_path)
    cache.fill(split)
    check(cache, split, reduced=False)
    (path,) = tmp_path.iterdir()
    assert path.stat().st_size < 2 * SERVED_BYTES


def test_the_order_and_the_names_of_images_do_not_matter(tmp_path: Path) -> None:
    split = counted([6, 6])
    PixelCache(SPEC, tmp_path).fill(split)
    reader = CountingReader({f"new {name}": split.reader.pixels[name] for name in split.names})  # type: ignore[attr-defined]
    renamed = Split(tuple(f"new {name}" for name in split.names[::-1]), split.targets, reader)
    cache = PixelCache(SPEC, tmp_path)
    cache.fill(renamed)
    assert len(READS) == 12
    check(cache, renamed, reduced=False)


def test_changed_images_are_decoded_anew(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png", seed=1)
    for seed in (1, 2):
        save_image(tmp_path / "a.png", seed=seed)
        split = Split(("a.png",), np.zeros(1, np.int64), FileReader(tmp_path))
        cache = PixelCache(SPEC, tmp_path / "cache")
        cache.fill(split, reduced=True)
        np.testing.assert_array_equal(cache.served(split, 0), preprocess.served_pixels(split.image(0), SPEC))


def test_where_the_disk_refuses_memory_takes_over_with_one_note(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    split = counted([30, 20])
    cache = PixelCache(SPEC, tmp_path / "file" / "pixels", memory_bytes=20 * (SERVED_BYTES + 300))
    cache.fill(split, reduced=True)
    (note,) = cache.notes
    assert note.startswith(f"decoded images can't be kept in {tmp_path / 'file' / 'pixels'} (")
    READS.clear()
    for row in range(len(split)):
        cache.served(split, row)
        cache.reduced(split, row)
    assert len(READS) == 60  # 30 images lie in no budget, in two views each
    check(cache, split)


def test_without_filling_images_are_decoded_when_they_are_asked_for(tmp_path: Path) -> None:
    split = make_split([2, 2], side=10)
    check(PixelCache(SPEC, tmp_path), split)
    assert os.listdir(tmp_path) == []


def test_progress_goes_from_nothing_to_everything(tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    split = make_split([CHUNK, 50])
    split.contents()
    cache = PixelCache(SPEC, tmp_path)
    cache.fill(split, progress=lambda *report: seen.append(report))
    total = CHUNK + 50
    assert seen == [(WHAT, done, total) for done in (0, CHUNK, total)]
    cache.fill(split, progress=lambda *report: seen.append(report))
    assert len(seen) == 3


def spoiled(folder: Path) -> Split:
    save_image(folder / "good.png")
    save_image(folder / "torn.png", seed=1)
    (folder / "torn.png").write_bytes((folder / "torn.png").read_bytes()[:200])
    (folder / "text.jpg").write_text("no image")
    (folder / "copy.jpg").write_text("no image")
    (folder / "line.png").write_bytes(encode(make_image(20_000, 1)))
    names = ("good.png", "torn.png", "text.jpg", "copy.jpg", "line.png")
    return Split(names, np.zeros(5, np.int64), FileReader(folder))


def test_bad_images_are_named_with_their_reason_in_this_run_and_the_next(tmp_path: Path) -> None:
    spec = make_preprocess_spec((224, 224))
    for _ in range(2):
        split = spoiled(tmp_path)
        cache = PixelCache(spec, tmp_path / "cache")
        for _ in range(2):
            bad = cache.fill(split, reduced=True)
            assert list(bad) == ["torn.png", "text.jpg", "copy.jpg", "line.png"]
            assert bad["torn.png"].startswith(f"{tmp_path / 'torn.png'}: the image is truncated or damaged; ")
            assert "not a JPEG, PNG" in bad["text.jpg"]
            assert bad["line.png"].startswith("line.png: the image has 20000 x 1 pixels, too elongated")
        good = split.take([0])
        assert cache.fill(good, reduced=True) == {}
        np.testing.assert_array_equal(cache.served(good, 0), preprocess.served_pixels(good.image(0), spec))
        with pytest.raises(DatasetError, match="not a JPEG"):
            cache.served(split, 2)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    split = Split(("gone.png",), np.zeros(1, np.int64), FileReader(tmp_path))
    with pytest.raises(DatasetError, match=r"gone\.png: no such file"):
        PixelCache(SPEC, tmp_path / "cache").fill(split)


def test_an_interrupt_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pixels, "make", interrupted)
    with pytest.raises(KeyboardInterrupt):
        PixelCache(SPEC, tmp_path).fill(make_split([2, 2]), reduced=True)
    assert os.listdir(tmp_path) == []


def test_more_megapixels_than_the_server_takes_are_accepted(tmp_path: Path) -> None:
    # One colour: the file is small, and what it decodes to is known.
    Image.new("RGB", (9_000, 6_000), (200, 100, 50)).save(tmp_path / "big.png", compress_level=1)
    split = Split(("big.png",), np.zeros(1, np.int64), FileReader(tmp_path))
    cache = PixelCache(SPEC, tmp_path / "cache")
    assert cache.fill(split, reduced=True) == {}
    assert np.unique(cache.served(split, 0).reshape(-1, 3), axis=0).tolist() == [[200, 100, 50]]
    assert cache.reduced(split, 0).shape == (16, 24, 3)


def test_a_cache_can_be_handed_to_a_worker(tmp_path: Path) -> None:
    split = make_split([2, 2], side=10)
    cache = PixelCache(SPEC, tmp_path)
    cache.fill(split, reduced=True)
    check(pickle.loads(pickle.dumps(cache)), split)


def test_the_usual_folder_is_the_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "here"))
    PixelCache(SPEC).fill(make_split([1, 1]))
    assert len(os.listdir(tmp_path / "here" / "pixels")) == 1
