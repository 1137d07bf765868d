from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from adaptertune_deploy.core import preprocess
from adaptertune_deploy.core.errors import DatasetError, UsageError
from adaptertune_deploy.data import loader
from adaptertune_deploy.data.loader import Batch, evaluation_loader, training_loader
from adaptertune_deploy.data.pixels import DecodedImages
from adaptertune_deploy.data.samples import FileReader, Split
from tests.builders import make_preprocess_spec
from tests.data.builders import make_split, save_image

SPEC = make_preprocess_spec((16, 16), 0.9, "center", "bicubic")


def same(first: Batch, second: Batch) -> bool:
    return all(torch.equal(one, two) for one, two in zip(first, second, strict=True))


def test_an_epoch_shows_every_image_once_but_for_a_smaller_last_batch() -> None:
    split = make_split([6, 5])
    batches = training_loader(split, SPEC, "plain", 4, seed=0)
    assert len(batches) == 2
    epoch = list(batches.epoch(0))
    assert [tuple(batch.images.shape) for batch in epoch] == [(4, 3, 16, 16)] * 2
    rows = torch.cat([batch.rows for batch in epoch])
    assert len(set(rows.tolist())) == 8
    for batch in epoch:
        assert (batch.images.dtype, batch.targets.dtype, batch.rows.dtype) == (torch.float32, torch.int64, torch.int64)
        assert batch.targets.tolist() == split.targets[batch.rows.numpy()].tolist()
        expected = preprocess.transform(split.image(int(batch.rows[0])), SPEC)
        assert np.array_equal(batch.images[0].numpy(), expected)


@pytest.mark.parametrize("counts", [[1, 1], [2, 1], [2, 2]])
def test_a_set_smaller_than_a_batch_is_one_batch(counts: list[int]) -> None:
    batches = training_loader(make_split(counts), SPEC, "plain", 4, seed=0)
    assert len(batches) == 1
    assert [len(batch.rows) for batch in batches.epoch(0)] == [sum(counts)]


def test_order_and_augmentation_follow_from_seed_and_epoch() -> None:
    split = make_split([6, 6])
    one, two = (training_loader(split, SPEC, "fine", 4, seed=3) for _ in range(2))
    first = list(one.epoch(5))
    list(two.epoch(0))
    torch.manual_seed(99)
    assert all(same(a, b) for a, b in zip(first, two.epoch(5), strict=True))
    other_epoch, other_seed = next(one.epoch(6)), next(training_loader(split, SPEC, "fine", 4, seed=4).epoch(5))
    assert not torch.equal(first[0].rows, other_epoch.rows)
    assert not torch.equal(first[0].rows, other_seed.rows)


def test_an_epoch_can_start_in_the_middle() -> None:
    batches = training_loader(make_split([8, 8]), SPEC, "fine", 4, seed=0)
    whole = list(batches.epoch(2))
    assert all(same(a, b) for a, b in zip(whole[1:], batches.epoch(2, start_step=1), strict=True))
    assert len(batches) == 4
    assert len(list(batches.epoch(2))) == 4


def test_workers_change_nothing() -> None:
    split = make_split([6, 6])
    alone = training_loader(split, SPEC, "fine", 4, seed=0)
    helped = training_loader(split, SPEC, "fine", 4, seed=0, workers=2)
    for epoch in (0, 1):
        assert all(same(a, b) for a, b in zip(alone.epoch(epoch), helped.epoch(epoch), strict=True))
    served = evaluation_loader(split, SPEC, 5, workers=1)
    assert all(same(a, b) for a, b in zip(evaluation_loader(split, SPEC, 5), served, strict=True))


def test_the_global_random_numbers_are_left_alone() -> None:
    split = make_split([6, 6])
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    list(training_loader(split, SPEC, "fine", 4, seed=0).epoch(0))
    list(evaluation_loader(split, SPEC, 4))
    assert torch.equal(torch.rand(3), expected)


def test_evaluation_keeps_the_order_and_the_last_batch_and_serves_core_preprocess() -> None:
    split = make_split([4, 3], side=20)
    batches = evaluation_loader(split, SPEC, 3)
    assert len(batches) == 3
    seen = list(batches)
    assert [batch.rows.tolist() for batch in seen] == [[0, 1, 2], [3, 4, 5], [6]]
    assert torch.cat([batch.targets for batch in seen]).tolist() == split.targets.tolist()
    expected = [preprocess.preprocess(split.encoded(row)[0], SPEC) for row in range(7)]
    assert np.array_equal(torch.cat([batch.images for batch in seen]).numpy(), np.stack(expected))


def test_kept_evaluation_images_are_read_once(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    save_image(tmp_path / "b.png")
    split = Split(("a.png", "b.png"), np.array([0, 1]), FileReader(tmp_path))
    size = 3 * 16 * 16 * 4
    kept, half = (evaluation_loader(split, SPEC, 2, keep_bytes=share) for share in (2 * size, size))
    before = [next(iter(batches)) for batches in (kept, half)]
    (tmp_path / "b.png").unlink()
    assert same(next(iter(kept)), before[0])
    with pytest.raises(DatasetError, match=r"b\.png"):
        next(iter(half))


def test_training_files_are_decoded_once_and_reduced(tmp_path: Path) -> None:
    for name in "ab":
        save_image(tmp_path / f"{name}.png", size=(100, 80))
    split = Split(("a.png", "b.png"), np.array([0, 1]), FileReader(tmp_path))
    reports: list[tuple[str, int, int]] = []
    batches = training_loader(split, SPEC, "fine", 2, seed=0, progress=lambda *report: reports.append(report))
    assert reports[-1] == ("decoding training images", 2, 2)
    for name in "ab":
        (tmp_path / f"{name}.png").unlink()
    assert len(list(batches.epoch(0))) == 1
    with pytest.raises(DatasetError):
        training_loader(split, SPEC, "fine", 2, seed=0)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_image_is_one_line_whoever_reads_it(tmp_path: Path, workers: int) -> None:
    save_image(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"broken")
    split = Split(("a.png", "b.png"), np.array([0, 1]), FileReader(tmp_path))
    with pytest.raises(DatasetError) as caught:
        list(evaluation_loader(split, SPEC, 2, workers=workers))
    assert str(caught.value).startswith(f"{tmp_path / 'b.png'}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("training", [True, False])
def test_an_image_that_cannot_be_resized_is_named(tmp_path: Path, training: bool) -> None:
    save_image(tmp_path / "line.png", size=(20000, 1))
    split = Split(("line.png",), np.array([0]), FileReader(tmp_path))
    spec = make_preprocess_spec((224, 224), 0.9, "center", "bicubic")
    batches = (
        training_loader(split, spec, "plain", 1, seed=0).epoch(0) if training else evaluation_loader(split, spec, 1)
    )
    with pytest.raises(DatasetError, match=r"^line\.png: the image has 20000 x 1 pixels, too elongated"):
        list(batches)


def test_the_training_images_can_be_handed_to_a_spawned_worker() -> None:
    samples = loader._TrainingImages(DecodedImages(make_split([2, 2]), 1 << 20), SPEC, "fine", 0)
    copy = pickle.loads(pickle.dumps(samples))
    assert torch.equal(copy[(1, 2)][0], samples[(1, 2)][0])


def test_an_unknown_preset_is_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    split = Split(("absent.png",), np.zeros(1, np.int64), FileReader(tmp_path))
    with pytest.raises(UsageError, match="augmentation 'fien' is unknown"):
        training_loader(split, SPEC, "fien", 2, seed=0)
