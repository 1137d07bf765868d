"""export.images: which real images a graph is verified on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.errors import ExportError
from adaptertune_deploy.core.preprocess import preprocess
from adaptertune_deploy.export import images
from adaptertune_deploy.export.images import find_images, read_images
from tests.builders import encode, make_image, make_preprocess_spec


def fill(folder: Path, count: int, suffix: str = ".png") -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        (folder / f"{index:03}{suffix}").write_bytes(encode(make_image(20, 20, seed=index)))


def test_every_task_gives_its_share(tmp_path: Path) -> None:
    for name, count in (("few", 3), ("many", 32), ("more", 40), ("none", 0)):
        fill(tmp_path / name / "samples", count)
    found = find_images([tmp_path / name for name in ("many", "none", "few", "more")])
    counts = {name: sum(path.parent.parent.name == name for path in found) for name in ("few", "many", "more", "none")}
    assert counts == {"few": 3, "many": 14, "more": 15, "none": 0}
    assert len(set(found)) == 32


def test_more_tasks_than_images_give_one_each_up_to_the_limit(tmp_path: Path) -> None:
    folders = [tmp_path / f"task{index:02}" for index in range(40)]
    for folder in folders:
        fill(folder / "samples", 2)
    assert len({path.parent for path in find_images(folders)}) == 32


def test_a_folder_given_by_hand_is_searched_at_any_depth(tmp_path: Path) -> None:
    fill(tmp_path / "images" / "a", 40)
    fill(tmp_path / "images" / "b" / "c", 24, ".JPG")
    (tmp_path / "images" / "notes.txt").write_text("no image")
    found = find_images([tmp_path / "no-adapter"], tmp_path / "images")
    assert len(found) == 64
    assert sum(path.suffix == ".JPG" for path in found) == 24


def test_a_large_folder_is_thinned_at_even_distances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_GIVEN", 20)
    fill(tmp_path / "images", 40)
    found = find_images([], tmp_path / "images")
    assert [path.name for path in found[:3]] == ["000.png", "002.png", "004.png"]
    assert len(found) == 20


def test_no_images_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"pets: holds no samples/ .*--images DIR"):
        find_images([tmp_path / "pets"])
    with pytest.raises(ExportError, match=r"absent: no such folder of images; .*--images DIR"):
        find_images([], tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ExportError, match=r"empty: holds no image \(\.jpg.*--images DIR"):
        find_images([], tmp_path / "empty")


def test_images_are_prepared_as_everywhere(tmp_path: Path) -> None:
    fill(tmp_path / "images", 3)
    spec = make_preprocess_spec()
    paths = find_images([], tmp_path / "images")
    rows = read_images(paths, spec)
    assert rows.shape == (3, 3, 32, 32)
    assert rows.dtype == np.float32
    assert np.array_equal(rows[2], preprocess(paths[2].read_bytes(), spec))


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"not an image")
    with pytest.raises(ExportError, match=r"broken\.png: no image to verify on"):
        read_images(find_images([], tmp_path), make_preprocess_spec())
