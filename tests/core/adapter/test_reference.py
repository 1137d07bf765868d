"""core.adapter.reference: torch's answers travel with the adapter, in the samples' order, and vouched for."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import folder as artefact
from adaptertune_deploy.core.adapter.folder import AdapterConfig
from adaptertune_deploy.core.adapter.reference import REFERENCE_NAME, known_answers, read_reference, write_reference
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.core.images.preprocess import preprocess
from adaptertune_deploy.core.storage.tensors import Array
from tests.builders import encode, give_reference, make_image, make_task, write_adapter

IMAGES = [encode(make_image(seed=seed)) for seed in range(4)]


def logits(seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=(4, 3)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An adapter folder with four samples and answers of both candidates."""
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "cache"))
    write_adapter(tmp_path / "pets", ships="head")
    give_reference(tmp_path / "pets", IMAGES, {"adapter": logits(0), "head": logits(1)})
    return tmp_path / "pets"


def config_of(folder: Path) -> AdapterConfig:
    return artefact.read_config(folder)


def test_each_candidate_has_its_own_answers(folder: Path) -> None:
    config = config_of(folder)
    for ship, expected in ((None, logits(1)), ("head", logits(1)), ("adapter", logits(0))):
        np.testing.assert_array_equal(read_reference(folder, config, ship), expected)


def test_a_task_of_rank_0_has_one(tmp_path: Path) -> None:
    write_adapter(tmp_path / "fish", make_task("fish", rank=0))
    give_reference(tmp_path / "fish", IMAGES, {"head": logits(2)})
    np.testing.assert_array_equal(read_reference(tmp_path / "fish", config_of(tmp_path / "fish")), logits(2))


def test_answers_come_with_the_images_that_are_here(folder: Path) -> None:
    config = config_of(folder)
    (folder / "samples" / config.samples[1].file).unlink()
    (folder / "samples" / config.samples[2].file).write_bytes(b"changed")
    known = known_answers(folder, config)
    assert known is not None
    np.testing.assert_array_equal(known.logits, logits(1)[[0, 3]])
    for place, pixels in zip((0, 3), known.images, strict=True):
        np.testing.assert_array_equal(pixels, preprocess(IMAGES[place], config.preprocess))


def test_some_are_taken_at_even_distances(folder: Path) -> None:
    known = known_answers(folder, config_of(folder), most=2)
    assert known is not None
    np.testing.assert_array_equal(known.logits, logits(1)[[0, 2]])


def test_where_nothing_is_there_is_nothing_to_compare_with(folder: Path, tmp_path: Path) -> None:
    config = config_of(folder)
    for record in config.samples:
        (folder / "samples" / record.file).unlink()
    assert known_answers(folder, config) is None
    write_adapter(tmp_path / "old")
    assert read_reference(tmp_path / "old", config_of(tmp_path / "old")) is None
    assert known_answers(tmp_path / "old", config_of(tmp_path / "old")) is None


def test_answers_that_were_changed_or_lost_are_refused(folder: Path) -> None:
    config = config_of(folder)
    other = write_reference(folder, {"adapter": logits(5), "head": logits(1)})
    with pytest.raises(FormatError, match=f"{REFERENCE_NAME}: is not the file that adapter_config.json names"):
        read_reference(folder, config)
    assert read_reference(folder, dataclasses.replace(config, reference_sha256=other), "head") is not None
    (folder / REFERENCE_NAME).unlink()
    with pytest.raises(FormatError, match="no such file"):
        known_answers(folder, config)


@pytest.mark.parametrize("held", [{"head": logits(0)[:3], "adapter": logits(0)}, {"head": logits(0)}])
def test_answers_of_other_shapes_are_refused(folder: Path, held: dict[str, Array]) -> None:
    digest = write_reference(folder, held)
    with pytest.raises(FormatError, match=r"tensor '(head|adapter)' (has shape \[3, 3\]|is missing)"):
        read_reference(folder, dataclasses.replace(config_of(folder), reference_sha256=digest))


def test_a_sample_that_is_no_image_is_named(tmp_path: Path) -> None:
    write_adapter(tmp_path / "pets")
    give_reference(tmp_path / "pets", [b"no image"], {"adapter": logits(0)[:1], "head": logits(1)[:1]})
    with pytest.raises(FormatError, match=r"sample 00000_a_label\.png is no image to verify on"):
        known_answers(tmp_path / "pets", config_of(tmp_path / "pets"))
