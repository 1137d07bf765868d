"""export.exporter: from adapter folders to a verified bundle, all of it or nothing."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core import adapter as artefact
from adaptertune_deploy.core import bank, bundle, files, graph_facts
from adaptertune_deploy.core.adapter import Adapter
from adaptertune_deploy.core.errors import BackboneError, ExportError, FormatError, ParityError, UsageError
from adaptertune_deploy.core.preprocess import preprocess
from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.engines.ort import open_ort
from adaptertune_deploy.export import exporter
from adaptertune_deploy.export.exporter import export_bundle
from adaptertune_deploy.model.backbone import Backbone, load_backbone
from tests.builders import encode, make_config, make_image, make_task, write_adapter
from tests.export.conftest import SLOTS, reference


@pytest.fixture
def folders(tmp_path: Path, backbone: Backbone, held: Sequence[Adapter]) -> list[Path]:
    """Three trained tasks as `atd train` leaves them, each with a few held-back images."""
    made = []
    for seed, adapter in enumerate(held):
        folder = tmp_path / "adapters" / adapter.task.name
        digest = artefact.write_tensors(folder, adapter.tensors)
        artefact.write_config(folder, make_config(adapter.task, backbone.spec, backbone.preprocess, digest))
        for index in range(4):
            image = encode(make_image(40 + seed, 36, seed=10 * seed + index))
            files.write_bytes(folder / "samples" / f"{index}.png", image)
        made.append(folder)
    return made


@pytest.fixture
def calls(
    monkeypatch: pytest.MonkeyPatch, backbone: Backbone, merged_graphs: list[bytes], shared_graph: bytes
) -> list[Any]:
    """Give the exporter this suite's backbone and its graphs, traced once; remembers how the backbone was loaded."""
    asked: list[Any] = []

    def load(name: str, weights: Path | None = None, **options: Any) -> Backbone:
        asked.append((name, weights, options))
        return backbone

    order = {"pets": 0, "flowers": 1, "digits": 2}
    monkeypatch.setattr(exporter, "load_backbone", load)
    monkeypatch.setattr(exporter, "export_merged", lambda _, adapter: merged_graphs[order[adapter.task.name]])
    monkeypatch.setattr(exporter, "export_shared", lambda _, slots: {SLOTS: shared_graph}[tuple(slots)])
    return asked


def logits_of(path: Path, feeds: dict[str, Any], bound: dict[str, Array] | None = None) -> Array:
    engine = open_ort(path, "cpu", 2)
    engine.bind(bound or {})
    return engine.run(feeds)[bank.LOGITS]


def test_a_bundle_of_both_forms(
    tmp_path: Path, folders: list[Path], calls: list[Any], backbone: Backbone, held: Sequence[Adapter]
) -> None:
    out = tmp_path / "bundle"
    told: list[tuple[str, int, int]] = []
    weights = tmp_path / "w.safetensors"
    manifest = export_bundle(
        folders, out, merge=True, weights=weights, progress=lambda what, done, total: told.append((what, done, total))
    )
    assert calls == [(backbone.spec.name, weights, {"sha256": backbone.spec.sha256, "allow_random": False})]
    assert bundle.read_manifest(out) == manifest
    assert manifest.slots == SLOTS
    assert [record.task for record in manifest.tasks] == [adapter.task for adapter in held]
    assert {"torch", "timm", "onnx", "onnxruntime", "adaptertune-deploy"} <= manifest.versions.keys()
    named = {record.file for record in manifest.tasks} | {"manifest.json", "backbone.onnx"}
    named |= {f"merged/{adapter.task.name}.onnx" for adapter in held}
    assert {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()} == named
    assert told == [
        *(("torch's answers", done, 3) for done in range(4)),
        *(("shared graph", done, 2) for done in range(3)),
        *(("merged graphs", done, 3) for done in range(4)),
    ]

    spec = backbone.preprocess
    image = preprocess((folders[1] / "samples" / "2.png").read_bytes(), spec)[None]
    assert manifest.shared is not None
    loaded = [bundle.read_task(out, manifest, record) for record in manifest.tasks]
    feeds = {bank.IMAGES: image, bank.IMAGE: np.zeros(3, np.int64), bank.TASK: np.arange(3)}
    rows = logits_of(bundle.graph_path(out, manifest.shared), feeds, bank.stack(loaded, manifest.slots))
    for row, record, adapter in zip(rows, manifest.tasks, held, strict=True):
        wanted = reference(backbone, adapter, image)[0]
        assert record.merged is not None
        alone = logits_of(bundle.graph_path(out, record.merged), {bank.IMAGES: image})[0]
        assert np.abs(row[: len(wanted)] - wanted).max() < 1e-5
        assert np.abs(alone - wanted).max() < 1e-5
        for report in (record.shared_parity, record.merged_parity):
            assert report is not None
            assert report.images == 12
            assert 0 < report.max_abs < 1e-5
            assert (report.top1_agreement, report.tolerance, report.provider) == (1, 1e-4, "CPUExecutionProvider")
        assert (record.merged.precision, record.merged.opset, record.merged.ir_version) == ("fp32", 20, 10)


def test_the_shared_form_alone_takes_another_task_later(
    tmp_path: Path, folders: list[Path], calls: list[Any], backbone: Backbone
) -> None:
    out = tmp_path / "bundle"
    manifest = export_bundle(folders, out)
    assert not (out / "merged").exists()
    assert all(record.merged is record.merged_parity is None for record in manifest.tasks)
    write_adapter(tmp_path / "late", make_task("late", rank=3, blocks=(1,)), backbone.spec, backbone.preprocess)
    bundle.add_task(out, tmp_path / "late")
    assert [record.task.name for record in bundle.read_manifest(out).tasks] == ["pets", "flowers", "digits", "late"]


def test_the_merged_form_alone(tmp_path: Path, folders: list[Path], calls: list[Any]) -> None:
    manifest = export_bundle(folders[:2], tmp_path / "bundle", merge=True, shared=False)
    assert manifest.shared is None
    assert not (tmp_path / "bundle" / "backbone.onnx").exists()
    assert [record.merged_parity is not None for record in manifest.tasks] == [True, True]
    assert [record.shared_parity for record in manifest.tasks] == [None, None]


def test_images_may_be_given_by_hand(tmp_path: Path, folders: list[Path], calls: list[Any]) -> None:
    files.write_bytes(tmp_path / "mine" / "a.jpg", encode(make_image(64, 64), "JPEG"))
    manifest = export_bundle(folders, tmp_path / "bundle", images=tmp_path / "mine")
    assert manifest.tasks[0].shared_parity is not None
    assert manifest.tasks[0].shared_parity.images == 1


def test_an_older_bundle_stays_when_a_graph_differs(
    tmp_path: Path, folders: list[Path], calls: list[Any], monkeypatch: pytest.MonkeyPatch, merged_graphs: list[bytes]
) -> None:
    out = tmp_path / "bundle"
    export_bundle(folders, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    monkeypatch.setattr(exporter, "export_merged", lambda *_: merged_graphs[0])
    with pytest.raises(ParityError, match=r"graph of 'flowers' gives logits of shape \[42, 5\], torch \[42, 11\]"):
        export_bundle([folders[1]], out, merge=True, shared=False)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapters", "bundle"]


def test_an_older_bundle_is_replaced_as_a_whole(tmp_path: Path, folders: list[Path], calls: list[Any]) -> None:
    out = tmp_path / "bundle"
    export_bundle(folders, out, merge=True)
    export_bundle(folders, out)
    assert not (out / "merged").exists()


def test_a_folder_that_is_no_bundle_is_never_replaced(tmp_path: Path, folders: list[Path], calls: list[Any]) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "a web page, say"}')
    with pytest.raises(ExportError, match="holds something else than a bundle"):
        export_bundle(folders, tmp_path)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ExportError, match="holds something else than a bundle"):
        export_bundle(folders, tmp_path / "file")
    (tmp_path / "empty").mkdir()
    export_bundle(folders, tmp_path / "empty")
    assert calls
    assert (tmp_path / "file").read_text() == "mine"


def test_tasks_of_two_backbones_name_the_odd_one(
    tmp_path: Path, folders: list[Path], calls: list[Any], backbone: Backbone
) -> None:
    other = dataclasses.replace(backbone.spec, sha256="0" * 64)
    write_adapter(tmp_path / "odd", make_task("odd", blocks=(0,)), other, backbone.preprocess)
    for order in ([tmp_path / "odd", *folders], [*folders, tmp_path / "odd"]):
        with pytest.raises(FormatError, match=r"task 'odd' was trained on .*000000000000.*bundle of its own"):
            export_bundle(order, tmp_path / "bundle")
    smaller = dataclasses.replace(backbone.preprocess, crop_pct=0.5)
    write_adapter(tmp_path / "crop", make_task("crop", blocks=(0,)), backbone.spec, smaller)
    with pytest.raises(FormatError, match=r"task 'crop' was trained on images prepared otherwise.*crop_pct 0\.5"):
        export_bundle([tmp_path / "crop", *folders], tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
    assert not calls


def test_nothing_to_export_is_a_usage_error(tmp_path: Path, folders: list[Path]) -> None:
    with pytest.raises(UsageError, match="no adapter to export"):
        export_bundle([], tmp_path / "bundle")
    with pytest.raises(UsageError, match="neither form"):
        export_bundle(folders, tmp_path / "bundle", shared=False)
    with pytest.raises(UsageError, match=r"task 'pets' is in .*pets, .*pets; export one of them"):
        export_bundle([folders[0], folders[0]], tmp_path / "bundle")


def test_no_images_to_verify_on_is_an_error(tmp_path: Path, backbone: Backbone) -> None:
    write_adapter(tmp_path / "bare", make_task("bare", blocks=(0,)), backbone.spec, backbone.preprocess)
    with pytest.raises(ExportError, match=r"bare: holds no samples/ .*--images DIR"):
        export_bundle([tmp_path / "bare"], tmp_path / "bundle")


def test_random_weights_are_used_only_when_asked_for(tmp_path: Path, folders: list[Path]) -> None:
    with pytest.raises(BackboneError, match="asks for random weights"):
        export_bundle(folders, tmp_path / "bundle")


def test_deit_tiny_on_real_pets(tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real weights, real photographs, adapters in all blocks and in the last four, mixed in one batch."""
    monkeypatch.setenv("ATD_CACHE", str(tmp_path / "cache"))
    weights = shared_data / "weights" / "deit_tiny_patch16_224.fp16.safetensors"
    backbone = load_backbone("deit_tiny_patch16_224", weights)
    folders = []
    for seed, task in enumerate(
        [
            make_task("pets", classes=37, rank=8, blocks=range(12)),
            make_task("flowers", classes=102, rank=4, blocks=range(8, 12), alpha=0.5),
        ]
    ):
        folder = tmp_path / task.name
        shapes = artefact.tensor_shapes(task, backbone.spec)
        random = np.random.default_rng(seed)
        tensors = {name: random.normal(size=shape, scale=0.05).astype(np.float32) for name, shape in shapes.items()}
        digest = artefact.write_tensors(folder, tensors)
        artefact.write_config(folder, make_config(task, backbone.spec, backbone.preprocess, digest))
        folders.append(folder)
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for path in sorted((shared_data / "pets").rglob("*.jpg"))[::8]:
        (photographs / path.name).symlink_to(path)
    manifest = export_bundle(
        folders[:1], tmp_path / "one", merge=True, shared=False, weights=weights, images=photographs
    )
    both = export_bundle(folders, tmp_path / "both", weights=weights, images=photographs)
    assert both.slots == tuple(range(12))
    reports = [manifest.tasks[0].merged_parity, *(record.shared_parity for record in both.tasks)]
    for report in reports:
        assert report is not None
        assert report.images == len(list(photographs.iterdir())) > 40
        assert report.max_abs < 1e-4
        assert report.cosine > 1 - 1e-8
        assert report.top1_agreement == 1
    facts = json.loads(open_ort(tmp_path / "both" / "backbone.onnx", "cpu", 2).metadata[graph_facts.KEY])
    assert facts["backbone"]["name"] == "deit_tiny_patch16_224.fb_in1k"
