from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torchvision.datasets.utils
from torchvision.datasets import ImageFolder

from adaptertune_deploy.core.errors import DatasetError
from adaptertune_deploy.data.datasets import open_dataset
from adaptertune_deploy.data.division.stratify import hold_out_by_name
from adaptertune_deploy.data.samples import ArrayReader, Split
from adaptertune_deploy.data.sources import imagenet_r
from adaptertune_deploy.data.sources.labels.imagenet_r import LABELS
from tests.builders import encode, make_image

IMAGE = encode(make_image(8, 8), "JPEG")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 200 class folders with five images each."""
    folder = tmp_path_factory.mktemp("data")
    for wnid in LABELS:
        (folder / "imagenet-r" / wnid).mkdir(parents=True)
        for number in range(5):
            (folder / "imagenet-r" / wnid / f"art_{number}.jpg").write_bytes(IMAGE)
    (folder / "imagenet-r" / "README.txt").write_text("ImageNet-R")
    return folder


@pytest.fixture(autouse=True)
def _no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torchvision.datasets.utils, "download_and_extract_archive", refuse)


def test_classes_and_images_agree_with_torchvision(root: Path) -> None:
    dataset = open_dataset("imagenet-r", root)
    assert dataset.test is not None
    peer = ImageFolder(str(root / "imagenet-r"))
    assert tuple(LABELS) == tuple(peer.classes)
    theirs = {Path(path).relative_to(root / "imagenet-r").as_posix(): target for path, target in peer.imgs}
    ours = dict(
        zip(dataset.train.names + dataset.test.names, [*dataset.train.targets, *dataset.test.targets], strict=True)
    )
    assert ours == theirs
    assert dataset.labels[:2] == ("goldfish", "great white shark")
    assert (dataset.augment, dataset.non_commercial, dataset.val) == ("fine", None, None)


def test_a_fifth_of_every_class_is_the_test_and_always_the_same_fifth(root: Path) -> None:
    first, second = open_dataset("imagenet-r", root), open_dataset("imagenet-r", root, task="other")
    assert first.test is not None
    assert second.test is not None
    assert np.bincount(first.test.targets).tolist() == [1] * 200
    assert first.test.names == second.test.names
    # Published: a model that was tested on these must find them again in every later release.
    digest = hashlib.sha256("\n".join(first.test.names).encode()).hexdigest()
    assert digest == "f3b2a5620361d1a4d5123ea49b661825cfc81b85f2a1702648c0f7f2a9718c22"


def test_thirty_thousand_images_divide_into_24000_and_6000() -> None:
    generator = np.random.default_rng(0)
    counts = 50 + generator.multinomial(20_000, np.ones(200) / 200)
    targets = np.repeat(np.arange(200, dtype=np.int64), counts)
    whole = Split(tuple(f"{row}.jpg" for row in range(len(targets))), targets, ArrayReader({}))
    train, test = hold_out_by_name(whole, imagenet_r.TEST_FRACTION, imagenet_r.SALT)
    assert (len(train), len(test)) == (24_000, 6_000)
    assert np.abs(np.bincount(test.targets) - counts * 0.2).max() < 1


@pytest.mark.parametrize("parts", [("test",), ("train", "test")])
def test_another_division_in_place_of_the_dataset_is_refused(tmp_path: Path, parts: tuple[str, ...]) -> None:
    for part in parts:
        (tmp_path / part / "n01443537").mkdir(parents=True)
    with pytest.raises(DatasetError, match=rf"holds {parts[0]}/.* but no imagenet-r/; expected imagenet-r/<wnid>"):
        open_dataset("imagenet-r", tmp_path)


@pytest.mark.parametrize("parts", [("test",), ("train", "test"), ("test", "n01443537")])
def test_another_division_inside_the_dataset_is_refused(tmp_path: Path, parts: tuple[str, ...]) -> None:
    for part in parts:
        (tmp_path / "imagenet-r" / part).mkdir(parents=True)
    with pytest.raises(DatasetError, match=r"holds (train|test)/, which is no class of ImageNet-R; expected"):
        open_dataset("imagenet-r", tmp_path)


def test_an_absent_or_empty_class_is_refused(tmp_path: Path) -> None:
    for wnid in LABELS:
        (tmp_path / "imagenet-r" / wnid).mkdir(parents=True)
    with pytest.raises(DatasetError, match="n01443537: holds no image"):
        open_dataset("imagenet-r", tmp_path)
    (tmp_path / "imagenet-r" / "n01443537").rmdir()
    with pytest.raises(DatasetError, match=r"lacks n01443537/ \(1 such of 200\)"):
        open_dataset("imagenet-r", tmp_path)


def test_without_a_network_one_line_tells_the_layout_and_the_source(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"no network.*expected imagenet-r/<wnid>.*unpack https://"):
        open_dataset("imagenet-r", tmp_path / "absent")
