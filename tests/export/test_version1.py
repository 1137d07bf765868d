"""export.version1: what is no bundle of version 1 is refused, and a graph's facts are read as those of today."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from adaptertune_deploy.core.bundle.graph_facts import KEY
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.export import version1
from tests.export.old_bundles import GOLDEN, downgrade


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shutil.copytree(GOLDEN / "bundle", tmp_path / "bundle")
    return downgrade(tmp_path / "bundle")


def test_a_manifest_of_version_1_is_read(folder: Path) -> None:
    manifest = version1.read_manifest(folder)
    assert [task.task.name for task in manifest.tasks] == ["birds", "cars"]
    assert len(manifest.files) == 5
    assert all((folder / file).is_file() for file in manifest.files)
    assert version1.version_of(folder) == 1


def test_another_version_is_refused() -> None:
    assert version1.version_of(GOLDEN / "bundle") == 2
    with pytest.raises(FormatError, match="format_version is 2, this release reads 1"):
        version1.read_manifest(GOLDEN / "bundle")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '"x"'])
def test_what_is_no_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(FormatError, match=r"manifest\.json: says no format_version"):
        version1.version_of(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(FormatError, match=r"holds no manifest.json; make a bundle with: atd export"):
        version1.version_of(folder)


def test_a_file_of_another_name_is_refused(folder: Path) -> None:
    document = json.loads((folder / "manifest.json").read_text())
    document["shared"]["file"] = "../backbone.onnx"
    (folder / "manifest.json").write_text(json.dumps(document))
    with pytest.raises(FormatError, match="must be called backbone-"):
        version1.read_manifest(folder)


def test_a_damaged_graph_is_refused(folder: Path) -> None:
    shared = version1.read_manifest(folder).shared
    assert shared is not None
    (folder / shared.file).write_bytes(b"damaged")
    with pytest.raises(FormatError, match="is not the file that the manifest names; run atd export again"):
        version1.read_graph(folder, shared)


@pytest.mark.parametrize("text", ["{", "[]", '{"format_version": 2}'])
def test_facts_of_another_version_are_refused(text: str) -> None:
    with pytest.raises(FormatError, match="g: holds no facts of version 1; run atd export again"):
        version1.read_facts({KEY: text}, "g", 2)
