"""export.calibration: ranges come from photographs that no graph is verified on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import samples
from adaptertune_deploy.core.adapter.folder import AdapterConfig
from adaptertune_deploy.core.adapter.samples import CALIBRATION_NAME
from adaptertune_deploy.core.errors import ExportError
from adaptertune_deploy.core.images.preprocess import preprocess
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.export.calibration import IMAGES, check_photographs, find_calibration
from tests.builders import encode, make_config, make_image, make_preprocess_spec, make_task


def adapter(root: Path, name: str, count: int, first: int = 0) -> tuple[Path, AdapterConfig]:
    """Return an adapter folder that kept so many images for calibration."""
    pictures = [encode(make_image(24, 24, seed=first + number)) for number in range(count)]
    kept = samples.keep(root / name, [(data, ".png", "cat") for data in pictures], True, CALIBRATION_NAME)
    return root / name, replace(make_config(make_task(name)), calibration=kept)


def hashes(paths: Sequence[Path]) -> set[str]:
    return {files.sha256_bytes(path.read_bytes()) for path in paths}


def test_each_task_gives_its_share_and_is_asked_about_its_own(tmp_path: Path) -> None:
    adapters = [adapter(tmp_path, "pets", 40), adapter(tmp_path, "flowers", 50, 100)]
    found = find_calibration(adapters, ())
    assert len(found.paths) == IMAGES
    assert [found.tasks.count(task) for task in (0, 1)] == [32, 32]
    for path, task in zip(found.paths, found.tasks, strict=True):
        assert path.parents[1].name == ("pets", "flowers")[task]
    assert found.words.startswith("64 images that pets, flowers learned from (")
    assert find_calibration(adapters, ()) == found
    assert find_calibration(adapters[::-1], ()).words != found.words


def test_more_tasks_than_images(tmp_path: Path) -> None:
    adapters = [adapter(tmp_path, f"task{number}", 1, number) for number in range(IMAGES + 6)]
    found = find_calibration(adapters, ())
    assert IMAGES / 2 <= len(found.paths) <= IMAGES
    assert found.words.split(" (")[0] == f"{len(found.paths)} images that task0, task1, task2 and 67 more learned from"


def test_an_image_that_graphs_are_verified_on_is_none_to_calibrate_on(tmp_path: Path) -> None:
    place, config = adapter(tmp_path, "pets", 20)
    same = tmp_path / "elsewhere.png"
    same.write_bytes((place / CALIBRATION_NAME / "00007_cat.png").read_bytes())
    found = find_calibration([(place, config)], [same])
    assert len(found.paths) == 19
    assert not hashes(found.paths) & hashes([same])


def test_a_folder_of_images_is_asked_about_all_tasks_in_turn(tmp_path: Path) -> None:
    adapters = [adapter(tmp_path, "pets", 0), adapter(tmp_path, "flowers", 0)]
    for number in range(11):
        files.write_bytes(tmp_path / "mine" / "deep" / f"{number:02d}.png", encode(make_image(24, 24, seed=number)))
    verified = [tmp_path / "mine" / "deep" / "03.png"]
    found = find_calibration(adapters, verified, tmp_path / "mine")
    assert found.tasks == (0, 1, 0, 1, 0, 1, 0, 1, 0, 1)
    assert not {*found.paths} & {*verified}
    assert found.words.startswith("10 images of mine/ (")


def test_too_few_images_are_refused_with_what_to_do(tmp_path: Path) -> None:
    none, few = adapter(tmp_path, "old", 0), adapter(tmp_path, "few", 5)
    with pytest.raises(ExportError, match=r"^task 'old': the images that its training kept .*: --calibration FOLDER$"):
        find_calibration([adapter(tmp_path, "pets", 9), none], ())
    with pytest.raises(ExportError, match=r"^5 images to calibrate on, .* expected at least 8; .*--calibration FOLDER"):
        find_calibration([few], ())
    with pytest.raises(ExportError, match=r"absent: no such folder of images; give one with --calibration FOLDER$"):
        find_calibration([few], (), tmp_path / "absent")


def test_photographs_are_told_from_noise_and_blanks(shared_data: Path) -> None:
    spec = make_preprocess_spec(size=(64, 64))
    paths = sorted((shared_data / "flowers" / "flowers-102" / "jpg").glob("*.jpg"))[:400:50]
    small = sorted((shared_data / "cifar10" / "test").rglob("*.jpg"))[:400:50]
    photographs = np.stack([preprocess(path.read_bytes(), spec) for path in (*paths, *small)])
    noise = np.random.default_rng(0).normal(size=photographs.shape).astype(np.float32)
    check_photographs(photographs)
    for odd in (noise, np.ones_like(noise)):
        with pytest.raises(ExportError, match=r"^16 of 16 images to calibrate on are noise or blank"):
            check_photographs(odd)
    check_photographs(np.concatenate([photographs, noise[:8]]))
