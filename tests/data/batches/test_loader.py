from __future__ import annotations

import os
import pickle
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from adaptertune_deploy.core.errors import DatasetError, UsageError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.spec import PreprocessSpec
from adaptertune_deploy.data.batches import loader
from adaptertune_deploy.data.batches.augment import sample_generator, training_transform
from adaptertune_deploy.data.batches.loader import Batch, TrainingLoader, evaluation_loader, training_loader
from adaptertune_deploy.data.pixels.cache import PixelCache
from adaptertune_deploy.data.samples import FileReader, Split
from tests.builders import encode, make_image, make_preprocess_spec
from tests.data.builders import make_split, save_image

SPEC = make_preprocess_spec((16, 16), 0.9, "center", "bicubic")


def same(first: Batch, second: Batch) -> bool:
    return all(torch.equal(one, two) for one, two in zip(first, second, strict=True))


def train(
    split: Split, preset: str = "fine", batch_size: int = 4, seed: int = 0, steps: int = 6, **options: object
) -> TrainingLoader:
    return training_loader(split, PixelCache(SPEC), preset, batch_size, seed, steps, **options)  # type: ignore[arg-type]


def rows_of(batches: TrainingLoader) -> list[int]:
    return [row for batch in batches for row in batch.rows.tolist()]


def test_batches_carry_what_they_show() -> None:
    split = make_split([6, 5])
    batches = train(split, "plain", steps=3)
    assert (len(batches), batches.batch_size) == (3, 4)
    seen = list(batches)
    assert [tuple(batch.images.shape) for batch in seen] == [(4, 3, 16, 16)] * 3
    for batch in seen:
        assert (batch.images.dtype, batch.targets.dtype, batch.rows.dtype) == (torch.float32, torch.int64, torch.int64)
        assert batch.targets.tolist() == split.targets[batch.rows.numpy()].tolist()
        for image, row in zip(batch.images.numpy(), batch.rows.tolist(), strict=True):
            assert np.array_equal(image, preprocess.transform(split.image(row), SPEC))  # "plain" is the served view
    assert sorted(rows_of(train(split, steps=11))) == sorted(list(range(11)) * 4)


@pytest.mark.parametrize("counts", [[1, 1], [2, 1], [2, 2]])
def test_a_set_smaller_than_a_batch_is_one_batch(counts: list[int]) -> None:
    batches = train(make_split(counts), steps=2)
    assert batches.batch_size == sum(counts)
    assert [len(batch.rows) for batch in batches] == [sum(counts)] * 2


def test_order_and_augmentation_follow_from_the_seed() -> None:
    split = make_split([6, 6])
    first = list(train(split, seed=3))
    torch.manual_seed(99)
    assert all(same(a, b) for a, b in zip(first, train(split, seed=3), strict=True))
    other = list(train(split, seed=4))
    assert not torch.equal(first[0].rows, other[0].rows)
    epochs = [torch.cat([batch.rows for batch in first[part]]) for part in (slice(3), slice(3, 6))]
    assert not torch.equal(*epochs)


def test_a_run_can_start_in_the_middle() -> None:
    split = make_split([7, 4])
    whole = list(train(split, steps=7))
    rest = train(split, steps=7, start_step=3)
    assert len(rest) == 4
    assert all(same(a, b) for a, b in zip(whole[3:], rest, strict=True))
    assert list(train(split, steps=7, start_step=7)) == []


def test_iterating_again_repeats_the_run() -> None:
    batches = train(make_split([3, 3]), steps=4)
    assert all(same(a, b) for a, b in zip(list(batches), batches, strict=True))


def expected(split: Split, epoch: int, row: int, seed: int, preset: str = "fine") -> tuple[np.ndarray, np.ndarray]:
    """Return one sample as it is served, and augmented."""
    image = split.image(row)
    augmented = training_transform(preset, SPEC)(np.asarray(image), sample_generator(seed, epoch, row))
    return preprocess.transform(image, SPEC), preprocess.normalised(augmented, SPEC)


@pytest.mark.parametrize("share", [0.0, 1 / 3, 1.0])
def test_a_share_of_the_samples_is_the_served_view_and_the_others_stay_as_they_are(share: float) -> None:
    split = make_split([20, 16], side=24)
    served, samples = Counter[int](), 36 * 9
    for step, batch in enumerate(train(split, batch_size=36, steps=9, served_view=share)):
        for image, row in zip(batch.images.numpy(), batch.rows.tolist(), strict=True):
            plain, augmented = expected(split, step, row, 0)
            assert not np.array_equal(plain, augmented)
            served[row] += np.array_equal(image, plain)
            assert np.array_equal(image, plain) or np.array_equal(image, augmented)
    deviation = (samples * share * (1 - share)) ** 0.5
    assert abs(sum(served.values()) - samples * share) <= 4 * deviation
    if 0 < share < 1:
        assert len(set(served.values())) > 1  # drawn anew in every epoch


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker processes")  # torch's word on one core
def test_workers_change_nothing() -> None:
    split = make_split([6, 6])
    alone, helped = train(split), train(split, workers=2)
    assert all(same(a, b) for a, b in zip(alone, helped, strict=True))


def test_a_batch_is_made_while_the_one_before_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, int]] = []
    third = threading.Event()
    collate = loader._collate

    def watched(spec: PreprocessSpec, samples: list[loader.Sample]) -> Batch:
        made.append((threading.current_thread().name, len(samples)))
        if len(made) == 3:
            third.set()
        return collate(spec, samples)

    monkeypatch.setattr(loader, "_collate", watched)
    batches = iter(train(make_split([7, 6]), steps=4))
    next(batches), next(batches)
    assert third.wait(60)  # nobody has asked for it yet
    assert len(made) == 3
    assert {name for name, _ in made} == {"batches_0"}
    assert len(list(batches)) == 2


def test_evaluation_workers_stay_for_the_next_look() -> None:
    split, pixels = make_split([6, 6]), PixelCache(SPEC)
    alone, helped = evaluation_loader(split, pixels, 5), evaluation_loader(split, pixels, 5, workers=1)
    processes = []
    for _ in range(2):
        assert all(same(a, b) for a, b in zip(alone, helped, strict=True))
        processes.append([worker.pid for worker in helped._loader._iterator._workers])  # type: ignore[union-attr]
    assert processes[0] == processes[1]


def test_the_global_random_numbers_are_left_alone() -> None:
    split = make_split([6, 6])
    torch.manual_seed(1)
    first = torch.rand(3)
    torch.manual_seed(1)
    list(train(split))
    list(evaluation_loader(split, PixelCache(SPEC), 4))
    assert torch.equal(torch.rand(3), first)


def test_evaluation_keeps_the_order_and_the_last_batch_and_serves_core_preprocess() -> None:
    split = make_split([4, 3], side=20)
    batches = evaluation_loader(split, PixelCache(SPEC), 3)
    assert len(batches) == 3
    seen = list(batches)
    assert [batch.rows.tolist() for batch in seen] == [[0, 1, 2], [3, 4, 5], [6]]
    assert torch.cat([batch.targets for batch in seen]).tolist() == split.targets.tolist()
    served = [preprocess.preprocess(split.encoded(row)[0], SPEC) for row in range(7)]
    assert np.array_equal(torch.cat([batch.images for batch in seen]).numpy(), np.stack(served))


def test_files_are_read_once_for_training_its_parts_and_evaluation(tmp_path: Path) -> None:
    names = tuple(f"{number}.png" for number in range(6))
    for number, name in enumerate(names):
        save_image(tmp_path / name, seed=number, size=(100, 80))
    split = Split(names, np.array([0, 0, 0, 1, 1, 1]), FileReader(tmp_path))
    pixels = PixelCache(SPEC, tmp_path / "cache")
    reports: list[tuple[str, int, int]] = []
    whole = training_loader(
        split, pixels, "fine", 2, 0, 3, progress=lambda *report: reports.append(report), served_view=0.5
    )
    assert reports[-1] == ("decoding images", 6, 6)
    for name in names:
        (tmp_path / name).unlink()
    assert sorted(rows_of(whole)) == list(range(6))
    part = training_loader(split.take([4, 1]), pixels, "fine", 2, 0, 3)
    assert [batch.targets.tolist().count(1) for batch in part] == [1, 1, 1]
    assert len(list(evaluation_loader(split.take([5, 0, 2]), pixels, 2))) == 2
    again = Split(names, split.targets, FileReader(tmp_path))
    with pytest.raises(DatasetError, match=r"0\.png: no such file"):
        training_loader(again, pixels, "fine", 2, 0, 3)


@pytest.mark.parametrize("training", [True, False])
def test_a_bad_image_is_one_line_before_the_first_batch(tmp_path: Path, training: bool) -> None:
    save_image(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"broken")
    (tmp_path / "c.png").write_bytes(encode(make_image(20_000, 1)))
    spec = make_preprocess_spec((224, 224))
    for name, message in (("b.png", f"{tmp_path / 'b.png'}: the data is not"), ("c.png", "c.png: the image has 20000")):
        split = Split(("a.png", name), np.array([0, 1]), FileReader(tmp_path))
        pixels = PixelCache(spec)
        with pytest.raises(DatasetError) as caught:
            training_loader(split, pixels, "plain", 1, 0, 3) if training else evaluation_loader(split, pixels, 1)
        assert str(caught.value).startswith(message)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_goes_away_meanwhile_is_one_line_whoever_reads_it(tmp_path: Path, workers: int) -> None:
    save_image(tmp_path / "a.png")
    split = Split(("a.png",), np.zeros(1, np.int64), FileReader(tmp_path))
    pixels = PixelCache(SPEC, tmp_path / "cache", disk_bytes=0, memory_bytes=0)
    batches = evaluation_loader(split, pixels, 1, workers=workers)
    assert len(list(batches)) == 1
    (tmp_path / "a.png").unlink()
    with pytest.raises(DatasetError) as caught:
        list(batches)
    assert str(caught.value) == f"{tmp_path / 'a.png'}: no such file; replace or remove this file"


def test_the_training_images_can_be_handed_to_a_spawned_worker() -> None:
    split, pixels = make_split([2, 2]), PixelCache(SPEC)
    samples = loader._TrainingImages(split, pixels, "fine", 0, 0.5)
    copy = pickle.loads(pickle.dumps(samples))
    for row in range(4):
        assert np.array_equal(copy[(1, row)][0], samples[(1, row)][0])


def test_an_unknown_preset_is_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    split = Split(("absent.png",), np.zeros(1, np.int64), FileReader(tmp_path))
    with pytest.raises(UsageError, match="augmentation 'fien' is unknown"):
        train(split, "fien")
    assert os.listdir(tmp_path) == []
