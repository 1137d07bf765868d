"""core.bundle: what a bundle refuses, and that adding a task is all or nothing."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core import adapter as adapters
from adaptertune_deploy.core import bundle, files
from adaptertune_deploy.core.adapter import Adapter
from adaptertune_deploy.core.bundle import GraphRecord, Manifest, ParityReport
from adaptertune_deploy.core.errors import FormatError, UsageError
from tests.builders import (
    make_adapter,
    make_backbone_spec,
    make_preprocess_spec,
    make_task,
    write_adapter,
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
    merged = GraphRecord(bundle.merged_file("pets"), "c" * 64, "fp32", 20, 10)
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
        merged = GraphRecord("merged/pets.onnx", "c" * 64, "fp32", 20, 10)
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
        (("tasks", 1, "file"), "backbone.onnx", "a file is named twice"),
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


def test_labels_that_are_not_the_heads_rows_are_refused(folder: Path) -> None:
    change_manifest(folder, "tasks", 0, "task", "labels", to=["cat", "dog"])
    with pytest.raises(FormatError, match=r"'head.weight' has shape \[3, 8\], expected \[2, 8\]"):
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


def test_a_graph_is_compared_with_its_hash(folder: Path) -> None:
    shared = bundle.read_manifest(folder).shared
    assert shared is not None
    assert bundle.graph_path(folder, shared) == folder / "backbone.onnx"
    (folder / "backbone.onnx").write_bytes(b"another graph")
    with pytest.raises(FormatError, match=r"backbone.onnx: sha256 is .*, the manifest says .*; run atd export again"):
        bundle.graph_path(folder, shared)
    (folder / "backbone.onnx").unlink()
    with pytest.raises(FormatError, match="no such file, though the manifest names it"):
        bundle.graph_path(folder, shared)


def test_select_keeps_the_order_asked_for(folder: Path) -> None:
    manifest = bundle.read_manifest(folder)
    pets, birds = manifest.tasks
    assert bundle.select(manifest, None) == (pets, birds)
    assert bundle.select(manifest, ["birds", "pets"]) == (birds, pets)
    assert bundle.select(manifest, ["birds"]) == (birds,)
    with pytest.raises(UsageError, match=r"holds no task 'brids', only pets, birds. Did you mean 'birds'\?"):
        bundle.select(manifest, ["pets", "brids"])
    with pytest.raises(UsageError, match="named twice in pets,pets"):
        bundle.select(manifest, ["pets", "pets"])


# Adding


def test_a_task_is_added_behind_the_others(folder: Path, tmp_path: Path) -> None:
    before = bundle.read_manifest(folder)
    source = write_adapter(tmp_path / "fish", make_task("fish", 4, rank=3, blocks=(1, 2)), seed=7)
    record = bundle.add_task(folder, tmp_path / "fish")
    after = bundle.read_manifest(folder)
    assert after == dataclasses.replace(before, tasks=(*before.tasks, record))
    assert record.shared_parity is None
    assert record.file == f"adapters/fish-{record.sha256[:8]}.safetensors"
    assert (folder / record.file).read_bytes() == (tmp_path / "fish" / adapters.MODEL_NAME).read_bytes()
    assert same(held(folder)["fish"], source)


def test_a_task_is_replaced_in_its_place(folder: Path, tmp_path: Path) -> None:
    before = bundle.read_manifest(folder)
    files.write_bytes(folder / "merged/pets.onnx", b"graph")
    merged = GraphRecord("merged/pets.onnx", files.sha256_bytes(b"graph"), "fp32", 20, 10)
    old = dataclasses.replace(before.tasks[0], merged=merged, shared_parity=PARITY, merged_parity=PARITY)
    bundle.write_manifest(folder, dataclasses.replace(before, tasks=(old, before.tasks[1])))
    source = write_adapter(tmp_path / "pets", make_task("pets", 6), seed=9)
    record = bundle.add_task(folder, tmp_path / "pets")
    assert bundle.read_manifest(folder).tasks == (record, before.tasks[1])
    assert same(held(folder)["pets"], source)
    assert (record.merged, record.shared_parity, record.merged_parity) == (None, None, None)
    assert sorted(os.listdir(folder / "adapters")) == sorted(Path(kept.file).name for kept in (record, before.tasks[1]))
    assert os.listdir(folder / "merged") == []


def test_the_same_labels_in_another_order_are_another_task(folder: Path, tmp_path: Path) -> None:
    task = make_task("pets")
    write_adapter(tmp_path / "pets", dataclasses.replace(task, labels=task.labels[::-1]))
    record = bundle.add_task(folder, tmp_path / "pets")
    assert record.file == bundle.read_manifest(folder).tasks[0].file
    assert held(folder)["pets"].task.labels == task.labels[::-1]


def test_adding_what_is_there_keeps_its_record_and_mends_its_file(folder: Path, tmp_path: Path) -> None:
    before = bundle.read_manifest(folder)
    verified = dataclasses.replace(before.tasks[0], shared_parity=PARITY)
    bundle.write_manifest(folder, dataclasses.replace(before, tasks=(verified, before.tasks[1])))
    (folder / verified.file).write_bytes(b"damaged")
    write_adapter(tmp_path / "pets", make_task("pets"))
    assert bundle.add_task(folder, tmp_path / "pets") == verified
    assert bundle.read_manifest(folder).tasks == (verified, before.tasks[1])
    assert same(held(folder)["pets"], make_adapter(make_task("pets")))


@pytest.mark.parametrize("name", ["pets", "fish"])
def test_killed_before_the_manifest_the_old_bundle_still_reads(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before, tasks = bundle.read_manifest(folder), held(folder)
    write_adapter(tmp_path / name, make_task(name, 6), seed=9)

    def killed(folder: Path, manifest: Manifest) -> None:
        raise StopError

    with monkeypatch.context() as patch:
        patch.setattr(bundle, "write_manifest", killed)
        with pytest.raises(StopError):
            bundle.add_task(folder, tmp_path / name)
    assert bundle.read_manifest(folder) == before
    assert all(same(adapter, tasks[found]) for found, adapter in held(folder).items())
    bundle.add_task(folder, tmp_path / name)
    assert held(folder)[name].task.labels == make_task(name, 6).labels


def test_killed_after_the_manifest_the_new_task_reads(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write_adapter(tmp_path / "pets", make_task("pets", 6), seed=9)

    def killed(self: Path, missing_ok: bool = False) -> None:
        raise StopError

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(StopError):
            bundle.add_task(folder, tmp_path / "pets")
    assert same(held(folder)["pets"], source)


OTHER_BACKBONE = make_backbone_spec(sha256="c" * 64)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        ({"backbone": OTHER_BACKBONE}, r"trained on .*\(cccccccccccc\.\.\.\), .* holds .*\(bbbbbbbbbbbb\.\.\.\)"),
        ({"backbone": make_backbone_spec(image_size=(64, 48))}, "random at 64 x 48 .*random at 32 x 32"),
        (
            {"preprocess": make_preprocess_spec(interpolation="bilinear")},
            "does it: interpolation bilinear, not bicubic; train",
        ),
        (
            {"task": make_task("fish", blocks=(0, 3))},
            "adapts block 0, but the shared graph has slots .* 2, 3",
        ),
    ],
)
def test_a_task_that_does_not_belong_is_refused_and_nothing_is_written(
    tmp_path: Path, build: dict[str, Any], message: str
) -> None:
    folder = tmp_path / "bundle"
    write_bundle(folder, [make_adapter(make_task("pets", blocks=(2, 3)))], slots=(2, 3))
    before = sorted(path for path in folder.rglob("*"))
    write_adapter(tmp_path / "fish", **{"task": make_task("fish", blocks=(2, 3)), **build})
    with pytest.raises(FormatError, match=message):
        bundle.add_task(folder, tmp_path / "fish")
    assert sorted(path for path in folder.rglob("*")) == before
    assert list(held(folder)) == ["pets"]


def test_a_damaged_adapter_is_refused(folder: Path, tmp_path: Path) -> None:
    write_adapter(tmp_path / "fish", make_task("fish"))
    (tmp_path / "fish" / adapters.MODEL_NAME).write_bytes(b"damaged")
    with pytest.raises(FormatError, match="the file was changed or damaged"):
        bundle.add_task(folder, tmp_path / "fish")
    assert list(held(folder)) == ["pets", "birds"]


def test_a_bundle_of_merged_graphs_takes_no_task(folder: Path, tmp_path: Path) -> None:
    bundle.write_manifest(folder, dataclasses.replace(bundle.read_manifest(folder), shared=None))
    write_adapter(tmp_path / "fish", make_task("fish"))
    with pytest.raises(FormatError, match="holds merged graphs only"):
        bundle.add_task(folder, tmp_path / "fish")
