from __future__ import annotations

import os
import shutil
import time
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.data.pixels import shelf as shelves
from adaptertune_deploy.data.pixels.shelf import RESERVE, STALE_S, SUFFIX, Memory, Shelf, trim
from adaptertune_deploy.data.pixels.views import Reduced, Served
from adaptertune_deploy.data.samples import Pixels
from tests.builders import make_preprocess_spec

SIZE = 3 * 4 * 4
LIMIT = 10_000
CONTENTS = ["aa", "bb", "cc"]
SERVED = Served(make_preprocess_spec((4, 4)))


def pixels(seed: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)


def make_shelf(folder: Path | None, limit: int = LIMIT, memory: int = LIMIT, view: object = SERVED) -> Shelf:
    return Shelf(view, folder, limit, Memory(memory))  # type: ignore[arg-type]


def fill(shelf: Shelf, contents: list[str] = CONTENTS) -> None:
    shelf.begin(contents)
    for seed, content in enumerate(contents):
        shelf.put(content, None if content == "bb" else pixels(seed))
    shelf.finish()


def check(shelf: Shelf) -> None:
    for seed, content in enumerate(CONTENTS):
        found = shelf.get(content)
        if content == "bb":
            assert found is None
        else:
            assert found is not None
            np.testing.assert_array_equal(found, pixels(seed), strict=True)


def test_a_later_run_finds_what_an_earlier_one_made(tmp_path: Path) -> None:
    first, second = make_shelf(tmp_path), make_shelf(tmp_path)
    assert not first.has(CONTENTS)
    fill(first)
    check(first)
    assert first.has(CONTENTS)
    assert first.has(CONTENTS[1:])
    assert second.has(CONTENTS)
    check(second)
    assert second.empty(CONTENTS) == ["bb"]
    assert second.get("dd") is None


def test_files_of_other_images_views_and_libraries_are_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(make_shelf(tmp_path))
    assert not make_shelf(tmp_path).has(CONTENTS[:2])
    assert not make_shelf(tmp_path).has([*CONTENTS, "dd"])
    assert not make_shelf(tmp_path, view=Reduced(8, "exif")).has(CONTENTS)
    assert not make_shelf(tmp_path, view=Served(make_preprocess_spec((4, 4), 0.5))).has(CONTENTS)
    monkeypatch.setattr(shelves.PIL, "__version__", "0.0")
    assert not make_shelf(tmp_path).has(CONTENTS)


def test_a_half_written_file_is_never_used(tmp_path: Path) -> None:
    killed = make_shelf(tmp_path)
    killed.begin(CONTENTS)
    killed.put("aa", pixels(0))
    assert not make_shelf(tmp_path).has(CONTENTS)
    killed.abandon()
    assert os.listdir(tmp_path) == []
    fill(make_shelf(tmp_path))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    torn = make_shelf(tmp_path)
    assert not torn.has(CONTENTS)
    fill(torn)
    assert make_shelf(tmp_path).has(CONTENTS)


def test_without_a_folder_images_stay_in_memory_as_far_as_it_reaches() -> None:
    shelf = make_shelf(None, memory=2 * SIZE - 1)
    fill(shelf)
    assert shelf.get("aa") is not None
    assert shelf.get("cc") is None
    assert (shelf.has(CONTENTS), shelf.refused) == (True, None)


def test_a_folder_that_can_not_be_made_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    shelf = make_shelf(tmp_path / "file" / "pixels")
    fill(shelf)
    check(shelf)
    assert shelf.refused is not None


def test_more_than_the_limit_stays_in_memory(tmp_path: Path) -> None:
    known, unknown = make_shelf(tmp_path, limit=100), make_shelf(tmp_path, limit=100, view=Reduced(8, "exif"))
    for shelf in (known, unknown):
        fill(shelf)
        assert "these images need more" in str(shelf.refused)
        assert shelf.get("cc") is not None
    check(known)
    assert os.listdir(tmp_path) == []


def test_the_disk_is_not_filled_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(0, 0, RESERVE + 3 * SIZE - 1))
    shelf = make_shelf(tmp_path)
    fill(shelf)
    check(shelf)
    assert shelf.refused == "its disk has 1.1 GB left, expected 1.1 or more"
    assert os.listdir(tmp_path) == []


def test_a_disk_that_fails_halfway_leaves_the_rest_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = make_shelf(tmp_path)
    shelf.begin(CONTENTS)
    shelf.put("aa", pixels(0))

    def failing(writer: object, found: Pixels | None) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shelves.PixelWriter, "append", failing)
    for seed, content in enumerate(CONTENTS[1:], start=1):
        shelf.put(content, pixels(seed))
    shelf.finish()
    assert shelf.refused == "No space left on device"
    assert shelf.get("aa") is None
    assert shelf.get("cc") is not None
    assert os.listdir(tmp_path) == []


def file(folder: Path, name: str, size: int, age_s: float) -> Path:
    path = folder / name
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - age_s,) * 2)
    return path


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    old, used, new = (
        file(tmp_path, f"{name}{SUFFIX}", 100, age) for name, age in (("x", 300.0), ("y", 200.0), ("z", 100.0))
    )
    other = file(tmp_path, "somebody's", 1000, 1e6)
    trim(tmp_path, 300)
    assert old.exists()
    trim(tmp_path, 250)
    assert (old.exists(), used.exists(), new.exists()) == (False, True, True)
    trim(tmp_path, 0, used)
    assert (used.exists(), new.exists(), other.exists()) == (True, False, True)
    trim(tmp_path / "absent", 0)


def test_using_a_file_makes_it_the_newest(tmp_path: Path) -> None:
    fill(make_shelf(tmp_path))
    (path,) = tmp_path.iterdir()
    os.utime(path, (0, 0))
    assert make_shelf(tmp_path).has(CONTENTS)
    assert path.stat().st_mtime > 0


def test_what_a_killed_run_left_goes_and_what_is_being_written_stays(tmp_path: Path) -> None:
    left = file(tmp_path, f".x{SUFFIX}.new.abcd1234", 10, STALE_S + 100)
    written = file(tmp_path, f".y{SUFFIX}.new.abcd1234", 10, 0)
    trim(tmp_path, LIMIT)
    assert (left.exists(), written.exists()) == (False, True)


def test_making_a_file_removes_older_ones(tmp_path: Path) -> None:
    old = file(tmp_path, f"x{SUFFIX}", 900, 100.0)
    fill(make_shelf(tmp_path, limit=1000))
    assert not old.exists()
    assert len(list(tmp_path.iterdir())) == 1
