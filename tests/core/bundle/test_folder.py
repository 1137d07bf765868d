"""core.bundle.folder: what a bundle refuses, and that what decides an answer is vouched for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.errors import FormatError
from tests.builders import make_adapter, make_task, with_parity, write_bundle, write_merged
from tests.core.changed import change


class StopError(Exception):
    pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A bundle of the shared form that holds `pets` and `birds`."""
    write_bundle(tmp_path / "bundle", [make_adapter(make_task("pets")), make_adapter(make_task("birds", 5), seed=1)])
    return tmp_path / "bundle"


def held(folder: Path) -> dict[str, Adapter]:
    """Read every task of a bundle, with all checks."""
    manifest = bundle.read_manifest(folder)
    return {record.task.name: bundle.read_task(folder, manifest, record) for record in manifest.tasks}


def same(first: Adapter, second: Adapter) -> bool:
    return first.task == second.task and all(
        np.array_equal(value, second.tensors[name]) for name, value in first.tensors.items()
    )


def change_manifest(folder: Path, *path: str | int, to: Any) -> None:
    change(folder / bundle.MANIFEST_NAME, *path, to=to)


# Reading


def test_a_manifest_comes_back_equal(tmp_path: Path) -> None:
    written = write_bundle(tmp_path)
    written = with_parity(write_merged(tmp_path, written, {"pets": b"a merged graph"}))
    bundle.write_manifest(tmp_path, written)
    assert len(written.parity) == 2
    assert bundle.read_manifest(tmp_path) == written


def test_tasks_come_back_as_they_were_trained(folder: Path) -> None:
    found = held(folder)
    assert list(found) == ["pets", "birds"]
    assert same(found["pets"], make_adapter(make_task("pets")))
    assert same(found["birds"], make_adapter(make_task("birds", 5), seed=1))


def test_a_folder_without_manifest_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"holds no manifest.json; make a bundle with: atd export"):
        bundle.read_manifest(tmp_path)


@pytest.mark.case("E3", "a manifest that names a file elsewhere", "refused")
@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "../x", "a/../../x", "..", ".", "./a", "", "/", "a/", "a//b"),
        *("a\\..\\b", "a\0b", "a\nb", "a b", "~/x", "%2e%2e/x", "file:x", "\uff0e\uff0e/x"),
    ],
)
@pytest.mark.parametrize("place", [("tasks", 0, "file"), ("graphs", 0, "file"), ("graphs", 1, "file")])
def test_a_file_outside_the_bundle_is_refused(folder: Path, place: tuple[str | int, ...], path: str) -> None:
    write_merged(folder, bundle.read_manifest(folder), {"pets": b"a merged graph"})
    change_manifest(folder, *place, to=path)
    with pytest.raises(FormatError, match="must be a path below the bundle") as caught:
        bundle.read_manifest(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "to", "message"),
    [
        (("format_version",), 0, "format_version is 0, this release reads 2; convert it with: atd upgrade"),
        (("format_version",), 3, "format_version is 3, this release reads 2; use a matching release"),
        (("tasks", 1, "task", "name"), "pets", "must be called adapters/pets-"),
        (
            ("tasks", 1, "file"),
            "manifest.json",
            r"'manifest.json' must be called adapters/birds-\w{8}.saf",
        ),
        (("tasks", 0, "file"), "adapters/cats-00000000.safetensors", "must be called adapters/pets-"),
        (("tasks", 0, "sha256"), "0" * 64, "must be called adapters/pets-00000000.safetensors"),
        (("tasks", 0, "sha256"), "pets", "must be 64 hexadecimal digits"),
        (("graphs", 0, "file"), "merged/pets-00000000.onnx", "must be called backbone-fp32-"),
        (("graphs", 0, "sha256"), "", "must be 64 hexadecimal digits"),
        (("graphs", 0, "precision"), "fp8", "found 'fp8', expected one of fp32, fp16, bf16, int8"),
        (("graphs", 0, "inputs"), {"images": "text"}, "input 'images' has dtype 'text'"),
        (("graphs", 0, "bytes"), -1, "has -1 bytes"),
        (("tasks", 1, "labels"), [], "unknown field 'labels'"),
        (("slots",), "all", "slots: found 'all', expected a list"),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(
    folder: Path, place: tuple[str | int, ...], to: Any, message: str
) -> None:
    change_manifest(folder, *place, to=to)
    with pytest.raises(FormatError, match=message):
        bundle.read_manifest(folder)


@pytest.mark.parametrize(
    ("place", "to"),
    [
        (("tasks", 0, "task", "labels"), ["pets 2", "pets 1", "pets 0"]),
        (("tasks", 0, "task", "labels"), ["cat", "dog"]),
        (("tasks", 0, "task", "adapter", "alpha"), 50.0),
        (("tasks", 0, "task", "adapter", "blocks"), [0, 1, 2]),
        (("backbone", "sha256"), "c" * 64),
        (("backbone", "image_size"), [64, 64]),
        (("preprocess", "mean"), [0.5, 0.5, 0.5]),
        (("preprocess", "size"), [64, 64]),
    ],
)
def test_a_manifest_that_says_something_else_than_the_tensors_is_refused(
    folder: Path, place: tuple[str | int, ...], to: Any
) -> None:
    change_manifest(folder, *place, to=to)
    with pytest.raises(FormatError, match=r"manifest.json: labels, alpha, .* task 'pets' are not those that pets-"):
        held(folder)


@pytest.mark.case("E7", "a task file with another hash than the manifest says", "refused")
def test_a_damaged_task_file_is_refused(folder: Path) -> None:
    path = folder / bundle.read_manifest(folder).tasks[0].file
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match=f"{path.name}: sha256 is .* the file was changed or damaged"):
        held(folder)


def test_a_missing_task_file_is_refused(folder: Path) -> None:
    (folder / bundle.read_manifest(folder).tasks[0].file).unlink()
    with pytest.raises(FormatError, match="no such file"):
        held(folder)


@pytest.mark.case("E7", "a graph with another hash than the manifest says", "refused")
def test_a_graphs_bytes_are_compared_with_its_hash(folder: Path) -> None:
    (shared,) = bundle.read_manifest(folder).graphs
    assert bundle.read_graph(folder, shared) == b"stands for an ONNX graph"
    (folder / shared.file).write_bytes(b"stands for an onnx graph")
    with pytest.raises(FormatError, match=r"onnx: sha256 is .*, the manifest says .*; run atd export again"):
        bundle.read_graph(folder, shared)
    (folder / shared.file).write_bytes(b"short")
    with pytest.raises(FormatError, match=r"onnx: holds 5 bytes, the manifest says 24; run atd export again"):
        bundle.read_graph(folder, shared)
    (folder / shared.file).write_bytes(b"longer than the manifest says")
    with pytest.raises(FormatError, match=r"onnx: holds 29 bytes, expected at most 24"):
        bundle.read_graph(folder, shared)
    (folder / shared.file).unlink()
    with pytest.raises(FormatError, match="no such file, though the manifest names it"):
        bundle.read_graph(folder, shared)
    os.mkfifo(folder / shared.file)
    with pytest.raises(FormatError, match="is a pipe, expected a regular file"):
        bundle.read_graph(folder, shared)


@pytest.mark.case("E2", "a pipe in place of a file", "refused without waiting")
def test_a_manifest_or_tensor_file_that_is_a_pipe_is_refused(folder: Path) -> None:
    path = folder / bundle.read_manifest(folder).tasks[0].file
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FormatError, match="is a pipe, expected a regular file"):
        held(folder)
    (folder / bundle.MANIFEST_NAME).unlink()
    os.mkfifo(folder / bundle.MANIFEST_NAME)
    with pytest.raises(FormatError, match="is a pipe, expected a regular file"):
        bundle.read_manifest(folder)


def test_the_facts_that_a_graph_must_hold(folder: Path) -> None:
    manifest = bundle.read_manifest(folder)
    shared, merged = bundle.facts_of(manifest, None), bundle.facts_of(manifest, "birds")
    assert (shared.backbone, shared.preprocess, shared.slots) == (manifest.backbone, manifest.preprocess, (0, 1, 2, 3))
    assert shared.task is None
    assert merged.task == manifest.tasks[1].task
    assert merged.slots == manifest.tasks[1].task.adapter.blocks
