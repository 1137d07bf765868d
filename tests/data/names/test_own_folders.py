"""data.names.own_folders: what this package wrote is not learned from, and what others wrote is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adaptertune_deploy.core.bundle.manifest import select_graph
from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.data.names.own_folders import check_not_own
from tests.builders import write_adapter, write_bundle, write_merged
from tests.data.builders import make_folder, save_image

CLASSES = {"cat": 1, "dog": 1}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a folder as commands leave it: adapters, a bundle and a dataset."""
    for task in ("digits", "pets"):
        write_adapter(tmp_path / "adapters" / task)
        save_image(tmp_path / "adapters" / task / "samples" / "0.png")
    write_bundle(tmp_path / "bundle")
    make_folder(tmp_path / "photos", CLASSES)
    return tmp_path


@pytest.mark.parametrize(
    ("place", "what"),
    [
        ("adapters", r"this is a folder of trained adapters \(digits, pets\)"),
        ("adapters/pets", "this is the folder of a trained adapter"),
        ("adapters/pets/samples", "it lies in .*pets, the folder of a trained adapter"),
        ("bundle", "this is a bundle"),
        ("bundle/adapters", "it lies in .*bundle, a bundle"),
        (".", "it holds adapters/, a folder of trained adapters"),
    ],
)
def test_a_folder_of_this_package_is_called_what_it_is(project: Path, place: str, what: str) -> None:
    name = str(project / place)
    with pytest.raises(UsageError, match=rf"^--dataset [^\n]*: {what}[^\n]*, not images to learn from; [^\n]*$"):
        check_not_own(project / place, name)


def test_a_bundle_of_merged_graphs_alone_is_one(tmp_path: Path) -> None:
    manifest = write_merged(tmp_path / "bundle", write_bundle(tmp_path / "bundle"), {"pets": b"stands for a graph"})
    (tmp_path / "bundle" / select_graph(manifest, "shared").file).unlink()
    make_folder(tmp_path, CLASSES)
    with pytest.raises(UsageError, match="it holds bundle/, a bundle"):
        check_not_own(tmp_path, "x")


def test_a_dataset_beside_adapters_or_below_a_bundle_in_the_current_folder_is_one(project: Path) -> None:
    check_not_own(project / "photos", "photos")
    write_bundle(project)
    check_not_own(project / "photos", "photos")


def test_a_manifest_of_another_program_is_no_bundle(tmp_path: Path) -> None:
    make_folder(tmp_path, CLASSES)
    (tmp_path / "manifest.json").write_text("{}")
    check_not_own(tmp_path, "x")


def test_what_may_not_be_read_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(tmp_path, CLASSES)
    scan = os.scandir

    def refuse(folder: Path) -> object:
        if Path(folder).name == "cat":
            raise PermissionError(13, "Permission denied")
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    check_not_own(tmp_path, "x")


def test_class_folders_of_any_size_are_looked_at_in_passing(tmp_path: Path) -> None:
    make_folder(tmp_path, CLASSES)
    for number in range(1000):
        (tmp_path / "cat" / f"{number}.jpg").write_bytes(b"")
    check_not_own(tmp_path, "x")
