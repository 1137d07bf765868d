"""serve.about: what people see of a task is what its bundle records, and only images that may be handed on."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from adaptertune_deploy.core.adapter import folder as adapters
from adaptertune_deploy.core.adapter.samples import SampleRecord, keep
from adaptertune_deploy.core.answers.accuracy import AccuracyRecord
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.serve.facts.about import LARGEST_SAMPLE, MOST_SAMPLES, read_about
from tests.builders import make_adapter, make_task, write_adapter, write_bundle, write_merged

PETS = make_task("pets")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with bundle/, in which `pets` and `birds` are, and adapters/pets/."""
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "cache"))
    manifest = write_bundle(tmp_path / "bundle", [make_adapter(PETS), make_adapter(make_task("birds", 5), seed=1)])
    pets, birds = manifest.tasks
    pets = dataclasses.replace(pets, accuracy=AccuracyRecord("squares", 20, 16))
    bundle.write_manifest(tmp_path / "bundle", dataclasses.replace(manifest, tasks=(pets, birds)))
    write_adapter(tmp_path / "adapters" / "pets", PETS)
    return tmp_path


def give_samples(folder: Path, images: list[tuple[bytes, str, str]], travel: bool = True) -> tuple[SampleRecord, ...]:
    kept = keep(folder, images, travel)
    adapters.write_config(folder, dataclasses.replace(adapters.read_config(folder), samples=kept))
    return kept


def labels(place: Path) -> list[str]:
    return [
        sample.label
        for sample in read_about(place / "bundle", "shared", Precision.FP32, place / "adapters").tasks["pets"].samples
    ]


def test_sizes_and_accuracy_are_the_bundles(place: Path) -> None:
    manifest = bundle.read_manifest(place / "bundle")
    about = read_about(place / "bundle", "shared", Precision.FP32, place / "adapters")
    assert (about.backbone, about.graph_bytes) == (manifest.backbone, manifest.graphs[0].bytes)
    assert about.tasks["pets"].bytes == len((place / "bundle" / manifest.tasks[0].file).read_bytes())
    assert about.tasks["pets"].accuracy == AccuracyRecord("squares", 20, 16)
    assert about.tasks["birds"].accuracy is None
    assert about.tasks["birds"].digests == {manifest.tasks[1].sha256}
    assert read_about(place / "bundle", "merged", Precision.FP32, place / "adapters").graph_bytes is None


def test_images_of_different_classes_come_first(place: Path) -> None:
    images = [(bytes([number]), ".png", label) for number, label in enumerate("aaabbc")]
    give_samples(place / "adapters" / "pets", images)
    assert labels(place) == ["a", "b", "c", "a"]
    assert len(labels(place)) == MOST_SAMPLES


def test_images_that_may_not_travel_are_not_shown(place: Path) -> None:
    give_samples(place / "adapters" / "pets", [(b"image", ".png", "a")], travel=False)
    assert labels(place) == []


def test_what_browsers_do_not_show_is_left_out(place: Path) -> None:
    large = b"x" * (LARGEST_SAMPLE + 1)
    give_samples(place / "adapters" / "pets", [(b"tiff", ".tif", "a"), (large, ".png", "b"), (b"web", ".webp", "c")])
    assert labels(place) == ["c"]


def test_another_task_of_the_name_gives_no_images(place: Path) -> None:
    write_adapter(place / "adapters" / "pets", make_task("pets", 7))
    give_samples(place / "adapters" / "pets", [(b"image", ".png", "a")])
    assert labels(place) == []


def test_a_damaged_adapter_folder_gives_no_images(place: Path) -> None:
    give_samples(place / "adapters" / "pets", [(b"image", ".png", "a")])
    (place / "adapters" / "pets" / adapters.CONFIG_NAME).write_text("{")
    assert labels(place) == []


def test_a_task_is_known_by_its_merged_graphs_too(place: Path) -> None:
    manifest = write_merged(place / "bundle", bundle.read_manifest(place / "bundle"), {"birds": b"graph"})
    about = read_about(place / "bundle", "merged", Precision.FP32, place / "adapters")
    assert about.tasks["birds"].digests == {manifest.tasks[1].sha256, manifest.graphs[-1].sha256}
