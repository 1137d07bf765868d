"""export.images: which real images a graph is verified on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from adaptertune_deploy.core.adapter import samples
from adaptertune_deploy.core.adapter.samples import SampleRecord
from adaptertune_deploy.core.errors import ExportError
from adaptertune_deploy.core.images.preprocess import preprocess, transform
from adaptertune_deploy.export import images
from adaptertune_deploy.export.images import find_images, read_images
from tests.builders import encode, make_image, make_preprocess_spec


def kept(folder: Path, count: int) -> tuple[Path, tuple[SampleRecord, ...]]:
    """Give an adapter folder held-back images, as training does."""
    encoded = [encode(make_image(20, 20, seed=index)) for index in range(count)]
    return folder, samples.keep(folder, [(data, ".png", "cat") for data in encoded], travel=True)


def fill(folder: Path, count: int, suffix: str = ".png") -> None:
    folder.mkdir(parents=True)
    for index in range(count):
        (folder / f"{index:03}{suffix}").write_bytes(encode(make_image(20, 20, seed=index)))


def test_every_task_gives_its_share(tmp_path: Path) -> None:
    tasks = [kept(tmp_path / name, count) for name, count in (("many", 32), ("none", 0), ("few", 3), ("more", 40))]
    found = find_images(tasks)
    counts = {name: sum(path.parent.parent.name == name for path in found) for name in ("few", "many", "more", "none")}
    assert counts == {"few": 3, "many": 14, "more": 15, "none": 0}
    assert len(set(found)) == 32


def test_more_tasks_than_images_give_one_each_up_to_the_limit(tmp_path: Path) -> None:
    tasks = [kept(tmp_path / f"task{index:02}", 2) for index in range(40)]
    assert len({path.parent for path in find_images(tasks)}) == 32


def test_images_that_may_not_travel_are_found_where_the_task_was_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = encode(make_image(20, 20))
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "cache"))
    records = samples.keep(tmp_path / "pets", [(data, ".png", "cat")], travel=False)
    assert not (tmp_path / "pets").exists()
    (found,) = find_images([(tmp_path / "pets", records)])
    assert found.read_bytes() == data
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "another machine"))
    with pytest.raises(ExportError, match=r"pets: the images that training held back .* give real images .*--images"):
        find_images([(tmp_path / "pets", records)])


def test_a_folder_given_by_hand_is_searched_at_any_depth(tmp_path: Path) -> None:
    fill(tmp_path / "images" / "a", 40)
    fill(tmp_path / "images" / "b" / "c", 24, ".JPG")
    (tmp_path / "images" / "notes.txt").write_text("no image")
    found = find_images([(tmp_path / "no-adapter", ())], tmp_path / "images")
    assert len(found) == 64
    assert sum(path.suffix == ".JPG" for path in found) == 24


def test_a_large_folder_is_thinned_at_even_distances(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "MAX_GIVEN", 20)
    fill(tmp_path / "images", 40)
    found = find_images([], tmp_path / "images")
    assert [path.name for path in found[:3]] == ["000.png", "002.png", "004.png"]
    assert len(found) == 20


def test_no_images_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"pets: the images that training held back are neither in samples/ nor"):
        find_images([(tmp_path / "pets", ())])
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


@pytest.mark.parametrize("orientation", ["exif", "ignored"])
def test_images_are_turned_as_the_spec_says(tmp_path: Path, orientation: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "phone.jpg").write_bytes(encode(make_image(40, 30), "JPEG", exif=exif))
    spec = dataclasses.replace(make_preprocess_spec(), orientation=orientation)
    (found,) = read_images([tmp_path / "phone.jpg"], spec)
    with Image.open(tmp_path / "phone.jpg") as stored:
        seen = ImageOps.exif_transpose(stored) if orientation == "exif" else stored
        assert np.array_equal(found, transform(seen.convert("RGB"), spec))


def test_a_photograph_that_the_server_would_refuse_is_verified_on(tmp_path: Path) -> None:
    Image.new("RGB", (9_000, 6_000), (200, 100, 50)).save(tmp_path / "big.png", compress_level=1)
    (found,) = read_images([tmp_path / "big.png"], make_preprocess_spec())
    assert np.ptp(found.reshape(3, -1), axis=1).tolist() == [0, 0, 0]


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"not an image")
    with pytest.raises(ExportError, match=r"broken\.png: no image to verify on"):
        read_images(find_images([], tmp_path), make_preprocess_spec())
