"""core.bundle: what a bundle refuses, and that what decides an answer is vouched for."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core import bundle
from adaptertune_deploy.core.adapter import Adapter
from adaptertune_deploy.core.bundle import GraphRecord, ParityReport
from adaptertune_deploy.core.errors import FormatError, UsageError
from tests.builders import (
    make_adapter,
    make_task,
    write_bundle,
)

PARITY = ParityReport(64, 1e-5, 1e-6, 0.9999, 1.0, 1e-3, "CPUExecutionProvider")


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
    manifest = json.loads((folder / bundle.MANIFEST_NAME).read_bytes())
    inner = manifest
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = to
    (folder / bundle.MANIFEST_NAME).write_text(json.dumps(manifest))


# Reading


def test_a_manifest_comes_back_equal(tmp_path: Path) -> None:
    written = write_bundle(tmp_path)
    (record,) = written.tasks
    merged = GraphRecord(bundle.merged_file("pets", "c" * 64), "c" * 64, "fp32", 20, 10)
    record = dataclasses.replace(record, merged=merged, shared_parity=PARITY, merged_parity=PARITY)
    written = dataclasses.replace(written, tasks=(record,))
    bundle.write_manifest(tmp_path, written)
    assert bundle.read_manifest(tmp_path) == written


def test_tasks_come_back_as_they_were_trained(folder: Path) -> None:
    found = held(folder)
    assert list(found) == ["pets", "birds"]
    assert same(found["pets"], make_adapter(make_task("pets")))
    assert same(found["birds"], make_adapter(make_task("birds", 5), seed=1))


def test_a_folder_without_manifest_says_what_makes_one(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"holds no manifest.json; make a bundle with: atd export"):
        bundle.read_manifest(tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "../x", "a/../../x", "..", ".", "./a", "", "/", "a/", "a//b"),
        *("a\\..\\b", "a\0b", "a\nb", "a b", "~/x", "%2e%2e/x", "file:x", "\uff0e\uff0e/x"),
    ],
)
@pytest.mark.parametrize("place", [("tasks", 0, "file"), ("shared", "file"), ("tasks", 0, "merged", "file")])
def test_a_file_outside_the_bundle_is_refused(folder: Path, place: tuple[str | int, ...], path: str) -> None:
    if "merged" in place:
        merged = GraphRecord(bundle.merged_file("pets", "c" * 64), "c" * 64, "fp32", 20, 10)
        change_manifest(folder, "tasks", 0, "merged", to=dataclasses.asdict(merged))
    change_manifest(folder, *place, to=path)
    with pytest.raises(FormatError, match="must be a path below the bundle") as caught:
        bundle.read_manifest(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "to", "message"),
    [
        (("format_version",), 0, "format_version is 0, this release reads 1"),
        (("tasks", 1, "task", "name"), "pets", "a task appears twice among pets, pets"),
        (
            ("tasks", 1, "file"),
            "manifest.json",
            r"'manifest.json' must be called adapters/birds-\w{8}.saf",
        ),
        (("tasks", 0, "file"), "adapters/cats-00000000.safetensors", "must be called adapters/pets-"),
        (("tasks", 0, "sha256"), "0" * 64, "must be called adapters/pets-00000000.safetensors"),
        (("tasks", 0, "sha256"), "pets", "must be 64 hexadecimal digits"),
        (("shared", "file"), "merged/pets-00000000.onnx", "must be called backbone-"),
        (("shared", "sha256"), "", "must be 64 hexadecimal digits"),
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


def test_a_graphs_bytes_are_compared_with_its_hash(folder: Path) -> None:
    shared = bundle.read_manifest(folder).shared
    assert shared is not None
    assert bundle.read_graph(folder, shared) == b"stands for an ONNX graph"
    (folder / shared.file).write_bytes(b"another graph")
    with pytest.raises(FormatError, match=r"onnx: sha256 is .*, the manifest says .*; run atd export again"):
        bundle.read_graph(folder, shared)
    (folder / shared.file).unlink()
    with pytest.raises(FormatError, match="no such file, though the manifest names it"):
        bundle.read_graph(folder, shared)
    os.mkfifo(folder / shared.file)
    with pytest.raises(FormatError, match="is a pipe, expected a regular file"):
        bundle.read_graph(folder, shared)


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
    shared, merged = bundle.shared_facts(manifest), bundle.merged_facts(manifest, manifest.tasks[1])
    assert (shared.backbone, shared.preprocess, shared.slots) == (manifest.backbone, manifest.preprocess, (0, 1, 2, 3))
    assert shared.task is None
    assert merged.task == manifest.tasks[1].task
    assert merged.slots == manifest.tasks[1].task.adapter.blocks


def test_select_keeps_the_order_asked_for(folder: Path) -> None:
    manifest = bundle.read_manifest(folder)
    pets, birds = manifest.tasks
    assert bundle.select(manifest, None) == (pets, birds)
    assert bundle.select(manifest, ["birds", "pets"]) == (birds, pets)
    assert bundle.select(manifest, ["birds"]) == (birds,)
    with pytest.raises(UsageError, match=r"holds no task 'brids', only pets, birds. Did you mean 'birds'\?"):
        bundle.select(manifest, ["pets", "brids"])
    with pytest.raises(UsageError, match="no task was named; name one or more of pets, birds"):
        bundle.select(manifest, [])
    with pytest.raises(UsageError, match="named twice in pets,pets"):
        bundle.select(manifest, ["pets", "pets"])
