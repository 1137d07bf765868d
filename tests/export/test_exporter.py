"""export.exporter: from adapter folders to a verified bundle, all of it or nothing."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adaptertune_deploy.core.adapter import bank, samples
from adaptertune_deploy.core.adapter import folder as artefact
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.adapter.identity import tensor_shapes
from adaptertune_deploy.core.adapter.reference import KnownAnswers, known_answers
from adaptertune_deploy.core.adapter.samples import CALIBRATION_NAME, SampleRecord
from adaptertune_deploy.core.answers.known_image import known_image
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle import graph_facts, publish
from adaptertune_deploy.core.bundle.manifest import Manifest, select_graph
from adaptertune_deploy.core.errors import BackboneError, ExportError, FormatError, ParityError, UsageError
from adaptertune_deploy.core.images.preprocess import normalised, preprocess
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import ON_CPU, EngineOptions
from adaptertune_deploy.engines.verification import added
from adaptertune_deploy.export import exporter, torch_answers
from adaptertune_deploy.export.merge import merged_graph
from adaptertune_deploy.export.plan import plan_export
from adaptertune_deploy.export.precision.table import is_calibrated
from adaptertune_deploy.export.shared import export_shared
from adaptertune_deploy.model.backbone import Backbone, load_backbone
from tests.builders import (
    encode,
    give_reference,
    make_candidates,
    make_config,
    make_image,
    make_task,
    write_adapter,
)
from tests.export.conftest import SLOTS, ask, reference


@pytest.fixture
def folders(tmp_path: Path, backbone: Backbone, held: Sequence[Adapter]) -> list[Path]:
    """Three trained tasks as `atd train` leaves them, each with a few held-back images."""
    made = []
    for seed, adapter in enumerate(held):
        folder = tmp_path / "adapters" / adapter.task.name
        images = [encode(make_image(40 + seed, 36, seed=10 * seed + index)) for index in range(4)]
        records = samples.keep(folder, [(image, ".png", "cat") for image in images], travel=True)
        write_source(folder, adapter, backbone, records)
        made.append(folder)
    return made


GIVEN_LATER = ("weights", "allow_random", "progress", "tell")


def export(adapters: Sequence[Path], out: Path, **given: Any) -> Manifest:
    """Plan an export, and carry it out."""
    later = {name: given.pop(name) for name in GIVEN_LATER if name in given}
    return exporter.export_bundle(plan_export(adapters, out, **given), **later)


def write_source(
    folder: Path,
    adapter: Adapter,
    backbone: Backbone,
    records: Sequence[SampleRecord] = (),
    ships: str = "adapter",
    probe_temperature: float = 1.0,
) -> None:
    """Write an adapter folder whose candidate "adapter" is this one, beside a random probe."""
    parts = (adapter.task, backbone.spec, backbone.preprocess)
    config = make_config(*parts, samples=records, ships=ships, probe_temperature=probe_temperature)
    tensors = {**make_candidates(config.identity), **adapter.tensors}
    digest = artefact.write_tensors(folder, tensors, config.identity)
    artefact.write_config(folder, dataclasses.replace(config, tensors_sha256=digest))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, backbone: Backbone, last_slot: bytes, shared_graph: bytes) -> list[Any]:
    """Give the exporter this suite's backbone and its graph, traced once; remembers how the backbone was loaded."""
    asked: list[Any] = []

    def load(name: str, weights: Path | None = None, **options: Any) -> Backbone:
        asked.append((name, weights, options))
        return backbone

    monkeypatch.setattr(torch_answers, "load_backbone", load)
    monkeypatch.setattr(torch_answers, "export_shared", lambda _, slots: {SLOTS: shared_graph, (2,): last_slot}[slots])
    return asked


def logits_of(graph: bytes, image: Array) -> Array:
    """Return a merged graph's logits [1, C]."""
    return open_engine(graph, "graph", EngineOptions(device="cpu", threads=2)).run({bank.IMAGES: image})[bank.LOGITS]


def shared_logits(out: Path, manifest: Manifest, image: Array) -> list[Array]:
    """Return what a bundle's shared graph answers for all of its tasks about one image."""
    loaded = [bundle.read_task(out, manifest, record) for record in manifest.tasks]
    engine = open_engine(
        bundle.read_graph(out, select_graph(manifest, "shared")), "graph", EngineOptions(device="cpu", threads=2)
    )
    return ask(engine, loaded, manifest.slots, image, [0] * len(loaded), range(len(loaded)))


def listing(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_bundle_of_both_forms(
    tmp_path: Path, folders: list[Path], calls: list[Any], backbone: Backbone, held: Sequence[Adapter]
) -> None:
    out = tmp_path / "bundle"
    told: list[tuple[str, int, int]] = []
    weights = tmp_path / "w.safetensors"
    manifest = export(
        folders, out, merge=True, weights=weights, progress=lambda what, done, total: told.append((what, done, total))
    )
    spec = backbone.spec
    options = {"image_size": spec.image_size, "sha256": spec.sha256, "allow_random": False}
    assert calls == [(spec.name, weights, options)]
    assert bundle.read_manifest(out) == manifest
    assert manifest.slots == SLOTS
    assert [record.task for record in manifest.tasks] == [adapter.task for adapter in held]
    shared = select_graph(manifest, "shared")
    assert {"torch", "timm", "onnx", "onnxruntime", "adaptertune-deploy"} <= manifest.versions.keys()
    assert len(manifest.files) == 7
    assert listing(out) == sorted(["manifest.json", *manifest.files])
    assert told == [
        *(("torch's answers", done, 3) for done in range(4)),
        *(("shared graph", done, 2) for done in range(3)),
        *(("merged graphs", done, 3) for done in range(4)),
    ]

    spec = backbone.preprocess
    known = normalised(known_image(spec.size), spec)[None]
    assert [answer.task for answer in manifest.answers] == [record.task.name for record in manifest.tasks]
    for answer, row in zip(manifest.answers, shared_logits(out, manifest, known), strict=True):
        np.testing.assert_allclose(answer.logits, row, atol=1e-4)
    image = preprocess((folders[1] / "samples" / "00002_cat.png").read_bytes(), spec)[None]
    rows = shared_logits(out, manifest, image)
    for row, record, adapter in zip(rows, manifest.tasks, held, strict=True):
        wanted = reference(backbone, adapter, image)[0]
        merged = select_graph(manifest, "merged", task=record.task.name)
        alone = logits_of(bundle.read_graph(out, merged), image)[0]
        assert np.abs(row - wanted).max() < 1e-5
        assert np.abs(alone - wanted).max() < 1e-5
        assert [entry.graph for entry in manifest.parity_of(record.task.name)] == [shared.file, merged.file]
        # 12 images, 3 tasks: in two turns each task is asked about 8. Merged graphs but the first are asked about 2.
        assert [entry.images for entry in manifest.parity_of(record.task.name)] == [8, 8 if adapter is held[0] else 2]
        for entry in manifest.parity_of(record.task.name):
            assert 0 < entry.max_abs < 1e-5
            assert (entry.agreement, entry.engine, entry.provider) == (1, "onnxruntime", "CPUExecutionProvider")
            assert (entry.engine_version, entry.atol, entry.rtol) == (
                importlib.metadata.version("onnxruntime"),
                1e-4,
                5e-6,
            )
        assert (merged.precision, merged.opset, merged.ir_version) == (Precision.FP32, 20, 10)
        assert (merged.inputs, merged.source) == ({"images": "float32"}, shared.sha256)


def test_the_shared_form_alone_takes_another_task_later(
    tmp_path: Path, folders: list[Path], calls: list[Any], backbone: Backbone
) -> None:
    out = tmp_path / "bundle"
    manifest = export(folders, out)
    assert not (out / "merged").exists()
    assert [graph.form for graph in manifest.graphs] == ["shared"]
    assert {entry.graph for entry in manifest.parity} == {manifest.graphs[0].file}
    write_adapter(tmp_path / "late", make_task("late", rank=3, blocks=(1,)), backbone.spec, backbone.preprocess)
    publish.add_task(out, tmp_path / "late")
    assert [record.task.name for record in bundle.read_manifest(out).tasks] == ["pets", "flowers", "digits", "late"]


@pytest.mark.parametrize(("ships", "ship"), [("head", None), ("adapter", "head"), ("head", "adapter")])
def test_either_candidate_ships_without_training(
    tmp_path: Path,
    folders: list[Path],
    calls: list[Any],
    backbone: Backbone,
    held: Sequence[Adapter],
    monkeypatch: pytest.MonkeyPatch,
    ships: str,
    ship: str | None,
) -> None:
    monkeypatch.setattr(torch_answers, "export_shared", export_shared)
    config = artefact.read_config(folders[0])
    write_source(folders[0], held[0], backbone, config.samples, ships, probe_temperature=2.5)
    out = tmp_path / "bundle"
    asked = {"merge": True, "ship": ship}
    if ship is None:  # beside two that ship their adapters
        manifest = export(folders, out, **asked)  # type: ignore[arg-type]
        assert [record.task.adapter.words for record in manifest.tasks] == ["head only", "rank 2", "rank 6"]
    else:
        manifest = export(folders[:1], out, **asked)  # type: ignore[arg-type]
    record, (_, expected) = manifest.tasks[0], artefact.read_adapter(folders[0], ship)
    assert record.task == expected.task
    assert record.task.temperature == (1.0 if ship == "adapter" else 2.5)
    image = preprocess((folders[0] / "samples" / "00001_cat.png").read_bytes(), backbone.preprocess)[None]
    wanted = reference(backbone, expected, image)
    alone = logits_of(bundle.read_graph(out, select_graph(manifest, "merged", task=record.task.name)), image)
    assert np.abs(alone - wanted).max() < 1e-5
    found = shared_logits(out, manifest, image)[0]
    assert np.abs(found - wanted[0]).max() < 1e-5


def test_a_bundle_of_heads_only_takes_an_adapter_in_every_block_later(
    tmp_path: Path, folders: list[Path], calls: list[Any], backbone: Backbone
) -> None:
    manifest = export(folders, tmp_path / "bundle", ship="head")
    assert [record.task.adapter.rank for record in manifest.tasks] == [0, 0, 0]
    assert manifest.slots == SLOTS == tuple(range(backbone.spec.depth))
    late = make_task("late", rank=8, blocks=SLOTS)
    write_adapter(tmp_path / "late", late, backbone.spec, backbone.preprocess)
    assert publish.add_task(tmp_path / "bundle", tmp_path / "late").task == late


def test_another_candidate_is_said_to_replace_the_first(tmp_path: Path, folders: list[Path], calls: list[Any]) -> None:
    export(folders, tmp_path / "bundle")
    told: list[str] = []
    export(folders, tmp_path / "bundle", ship="head", tell=told.append)
    assert told == [f"replaced tasks pets, flowers, digits of {tmp_path}/bundle/"]


def test_the_merged_form_alone(tmp_path: Path, folders: list[Path], calls: list[Any]) -> None:
    manifest = export(folders[:2], tmp_path / "bundle", merge=True, shared=False)
    assert [graph.form for graph in manifest.graphs] == ["merged", "merged"]
    assert not list((tmp_path / "bundle").glob("backbone*"))
    assert [entry.graph for entry in manifest.parity] == [graph.file for graph in manifest.graphs]


def test_images_may_be_given_by_hand(tmp_path: Path, folders: list[Path], calls: list[Any]) -> None:
    files.write_bytes(tmp_path / "mine" / "a.jpg", encode(make_image(64, 64), "JPEG"))
    manifest = export(folders, tmp_path / "bundle", images=tmp_path / "mine")
    assert [entry.images for entry in manifest.parity] == [1, 1, 1]


@pytest.mark.parametrize("shift", [0.0, 0.02])
def test_torch_is_compared_with_what_training_stored(
    tmp_path: Path, folders: list[Path], calls: list[Any], backbone: Backbone, shift: float
) -> None:
    pictures = [path.read_bytes() for path in sorted((folders[1] / "samples").iterdir())]
    pixels = np.stack([preprocess(picture, backbone.preprocess) for picture in pictures])
    answers = {
        name: reference(backbone, artefact.read_adapter(folders[1], name)[1], pixels) + np.float32(shift)
        for name in artefact.SHIPS
    }
    give_reference(folders[1], pictures, answers)
    if shift:
        with pytest.raises(ParityError, match="task 'flowers': torch answers otherwise than when it was trained"):
            export(folders, tmp_path / "bundle")
        assert not (tmp_path / "bundle").exists()
    else:
        assert len(export(folders, tmp_path / "bundle").parity) == 3


def test_a_task_is_verified_and_merged_when_it_is_added_as_at_export(
    tmp_path: Path, folders: list[Path], calls: list[Any], backbone: Backbone
) -> None:
    """The same bytes, and the same parity, without torch."""
    whole = export(folders, tmp_path / "whole", merge=True)
    export(folders[:1] + folders[2:], tmp_path / "bundle", merge=True)
    pictures = [path.read_bytes() for path in sorted((folders[1] / "samples").iterdir())]
    pixels = np.stack([preprocess(picture, backbone.preprocess) for picture in pictures])
    _, flowers = artefact.read_adapter(folders[1])
    known = KnownAnswers(pixels, reference(backbone, flowers, pixels))
    verify = added.verifier(tmp_path / "bundle", known, ON_CPU)
    publish.add_task(tmp_path / "bundle", folders[1], verify=verify, merge=merged_graph)
    grown = bundle.read_manifest(tmp_path / "bundle")
    assert {graph.sha256 for graph in grown.graphs} == {graph.sha256 for graph in whole.graphs}
    assert [entry.images for entry in grown.parity_of("flowers")] == [4, 4]
    assert max(entry.max_abs for entry in grown.parity_of("flowers")) < 1e-5
    wrong = KnownAnswers(known.images, known.logits[::-1].copy())
    before = listing(tmp_path / "bundle")
    with pytest.raises(ParityError, match="the shared fp32 graph with task 'flowers' differs from torch"):
        publish.add_task(
            tmp_path / "bundle", folders[1], verify=added.verifier(tmp_path / "bundle", wrong, ON_CPU), ship="adapter"
        )
    assert bundle.read_manifest(tmp_path / "bundle") == grown
    assert listing(tmp_path / "bundle") == before


def keep_for_calibration(folders: Sequence[Path]) -> None:
    """Give adapter folders images that their tasks learned from."""
    for seed, folder in enumerate(folders):
        pictures = [encode(make_image(44, 40, seed=100 + 10 * seed + index)) for index in range(4)]
        kept = samples.keep(folder, [(picture, ".png", "cat") for picture in pictures], True, CALIBRATION_NAME)
        artefact.write_config(folder, dataclasses.replace(artefact.read_config(folder), calibration=kept))


def test_every_precision_in_both_forms_and_for_a_task_that_comes_later(
    tmp_path: Path, folders: list[Path], calls: list[Any], backbone: Backbone
) -> None:
    keep_for_calibration(folders)
    out, told = tmp_path / "bundle", list[str]()
    manifest = export(folders, out, merge=True, precisions=tuple(Precision), tell=told.append)
    assert bundle.read_manifest(out) == manifest
    assert [(graph.precision, graph.form) for graph in manifest.graphs] == [
        (precision, form) for precision in Precision for form in ("shared", *["merged"] * 3)
    ]
    fp32 = select_graph(manifest, "shared")
    for graph in manifest.graphs:
        shared = select_graph(manifest, "shared", graph.precision)
        assert graph.source == (None if graph is fp32 else fp32.sha256 if graph is shared else shared.sha256)
        words = "12 images that pets, flowers, digits learned from ("
        assert (graph.calibration or "").startswith(words if is_calibrated(graph.precision) else "")
        assert (graph.calibration is None) is not is_calibrated(graph.precision)
    measured = {(entry.precision, entry.task) for entry in manifest.parity}
    names = [record.task.name for record in manifest.tasks]
    assert measured == {(p, name) for p in Precision if p is not Precision.BF16 for name in names}
    unmeasured, timed = told[:4], told[4:]
    assert [words.split(" of fp32's time")[0].split()[0] for words in timed] == ["fp16", "int8", "int8-qdq"]
    assert unmeasured[0].startswith("the shared bf16 graph is valid ONNX, and was not measured here: ONNX Runtime runs")

    late = make_task("late", rank=3, blocks=(1,))
    write_adapter(tmp_path / "late", late, backbone.spec, backbone.preprocess)
    pictures = [encode(make_image(50, 44, seed=900 + index)) for index in range(3)]
    pixels = np.stack([preprocess(picture, backbone.preprocess) for picture in pictures])
    give_reference(
        tmp_path / "late",
        pictures,
        {
            name: reference(backbone, artefact.read_adapter(tmp_path / "late", name)[1], pixels)
            for name in artefact.SHIPS
        },
    )
    known = known_answers(tmp_path / "late", artefact.read_config(tmp_path / "late"))
    assert known is not None
    verify = added.verifier(out, known, ON_CPU)
    publish.add_task(out, tmp_path / "late", verify=verify, merge=merged_graph)
    grown = bundle.read_manifest(out)
    own = [graph for graph in grown.graphs if graph.task == "late"]
    assert [graph.precision for graph in own] == list(Precision)
    assert {entry.precision for entry in grown.parity_of("late")} == set(Precision) - {Precision.BF16}
    assert len(grown.parity_of("late")) == 2 * (len(Precision) - 1)
    assert [graph.calibration for graph in own] == [
        select_graph(grown, "shared", precision).calibration for precision in Precision
    ]


def test_noise_is_nothing_to_calibrate_on(
    tmp_path: Path, folders: list[Path], calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (9, 32, 32, 3), dtype=np.uint8)
    for number, pixels in enumerate(noise):
        files.write_bytes(tmp_path / "noise" / f"{number}.png", encode(Image.fromarray(pixels)))
    with pytest.raises(ExportError, match=r"^9 of 9 images to calibrate on are noise or blank"):
        export(folders, tmp_path / "bundle", precisions=(Precision.FP16,), calibration=tmp_path / "noise")
    assert not (tmp_path / "bundle").exists()
    assert len(export(folders, tmp_path / "bundle", precisions=(Precision.INT8,)).graphs) == 1
    with pytest.raises(UsageError, match=r"would drop the int8 graphs \(--precision fp32,int8 keeps them\); "):
        export(folders, tmp_path / "bundle")


def test_an_older_bundle_stays_when_a_graph_differs(
    tmp_path: Path, folders: list[Path], calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "bundle"
    export(folders, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    monkeypatch.setattr(torch_answers, "expected_logits", lambda *_: (np.zeros((4, 11), np.float32),))
    with pytest.raises(ParityError, match=r"graph of task 'flowers' differs from torch"):
        export([folders[1]], out, merge=True, shared=False, replace=True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapters", "bundle"]


@pytest.mark.parametrize("fault", ["another block", "another task's head", "no adapters", "one number"])
def test_a_later_merged_graph_with_wrong_tensors_is_never_written(
    tmp_path: Path, folders: list[Path], calls: list[Any], monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The third of three beside the shared graph, which is asked about two images only; digits adapts 0 and 2."""

    def spoiled(name: str, tensor: Array) -> Array:
        if name.startswith("head.") and fault == "another task's head":
            return np.roll(tensor, 1, axis=0)
        if ".up." in name and fault == "no adapters":
            return np.zeros_like(tensor)
        if name == "blocks.0.adapter.down.bias" and fault == "one number":
            return np.concatenate([tensor[:1] + np.float32(0.5), tensor[1:]])
        return tensor

    def merged(source: bytes, adapter: Adapter, facts: graph_facts.GraphFacts) -> bytes:
        if adapter.task.name == "digits":
            tensors = {name: spoiled(name, tensor) for name, tensor in adapter.tensors.items()}
            if fault == "another block":
                tensors |= {name.replace("s.0.", "s.2."): tensors[name] for name in tensors if "s.0." in name}
            adapter = dataclasses.replace(adapter, tensors=tensors)
        return merged_graph(source, adapter, facts)

    monkeypatch.setattr(exporter, "merged_graph", merged)
    with pytest.raises(ParityError, match=r"graph of task 'digits' differs from torch"):
        export(folders, tmp_path / "bundle", merge=True)
    assert not (tmp_path / "bundle").exists()


def test_a_graph_of_another_task_is_never_written(
    tmp_path: Path, folders: list[Path], calls: list[Any], monkeypatch: pytest.MonkeyPatch, merged_graphs: list[bytes]
) -> None:
    monkeypatch.setattr(exporter, "merged_graph", lambda *_: merged_graphs[0])
    with pytest.raises(FormatError, match="'pets'"):
        export([folders[1]], tmp_path / "bundle", merge=True, shared=False)
    assert not (tmp_path / "bundle").exists()


def test_a_task_that_would_lose_graphs_in_several_precisions_is_named_once(
    tmp_path: Path, folders: list[Path], calls: list[Any]
) -> None:
    export(folders[:1], tmp_path / "bundle", merge=True, precisions=(Precision.FP32, Precision.INT8))
    with pytest.raises(UsageError, match=r"would drop the merged graph of pets \(--merge keeps merged\) and the int8 "):
        export(folders[:1], tmp_path / "bundle")


def test_a_bundle_is_replaced_only_when_nothing_goes_or_it_may(
    tmp_path: Path, folders: list[Path], calls: list[Any]
) -> None:
    out = tmp_path / "bundle"
    first = export(folders, out, merge=True)
    files.write_bytes(out / "plans" / "mine.plan", b"somebody's own")
    before = listing(out)
    for change, gone in (
        ({"adapters": folders[:1], "merge": True}, "would drop tasks flowers, digits;"),
        ({"adapters": folders}, r"would drop the merged graphs of pets, flowers, digits \(--merge keeps merged\)"),
        ({"adapters": folders[:2], "merge": True, "shared": False}, "would drop task digits and the shared graph;"),
    ):
        with pytest.raises(UsageError, match=gone + ".*--replace"):
            export(out=out, **change)  # type: ignore[arg-type]
        assert listing(out) == before
    assert bundle.read_manifest(out) == first
    told: list[str] = []
    second = export(folders, out, merge=True, tell=told.append)
    assert (second.files, told) == (first.files, [])
    third = export(folders, out, replace=True)
    assert listing(out) == sorted(["manifest.json", "plans/mine.plan", *third.files])


def test_a_task_that_was_trained_again_is_said_to_be_replaced(
    tmp_path: Path, folders: list[Path], calls: list[Any], backbone: Backbone, held: Sequence[Adapter]
) -> None:
    out = tmp_path / "bundle"
    old = export(folders, out)
    again = Adapter(held[0].task, {name: value * np.float32(0.5) for name, value in held[0].tensors.items()})
    write_source(folders[0], again, backbone)
    told: list[str] = []
    new = export(folders, out, images=folders[1] / "samples", tell=told.append)
    assert told == [f"replaced task pets of {out}/"]
    assert listing(out) == sorted(["manifest.json", *new.files])
    assert old.tasks[0].file != new.tasks[0].file


def test_the_current_folder_may_be_the_bundle(
    tmp_path: Path, folders: list[Path], calls: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    manifest = export(folders, Path("."))
    assert listing(tmp_path / "empty") == sorted(["manifest.json", *manifest.files])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapters", "empty"]


def test_a_task_that_is_added_meanwhile_is_not_dropped(
    tmp_path: Path, folders: list[Path], calls: list[Any], backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes after the plan and before the lock."""
    out = tmp_path / "bundle"
    export(folders, out)
    write_adapter(tmp_path / "late", make_task("late", blocks=(1,)), backbone.spec, backbone.preprocess)
    load = torch_answers.load_backbone

    def slow(*arguments: Any, **options: Any) -> Backbone:
        publish.add_task(out, tmp_path / "late")
        return load(*arguments, **options)

    monkeypatch.setattr(torch_answers, "load_backbone", slow)
    with pytest.raises(UsageError, match="would drop task late"):
        export(folders, out)
    assert len(bundle.read_manifest(out).tasks) == 4


def test_random_weights_are_used_only_when_asked_for(tmp_path: Path, folders: list[Path]) -> None:
    with pytest.raises(BackboneError, match="asks for random weights"):
        export(folders, tmp_path / "bundle")


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
        shapes = tensor_shapes(task, backbone.spec)
        random = np.random.default_rng(seed)
        tensors = {name: random.normal(size=shape, scale=0.05).astype(np.float32) for name, shape in shapes.items()}
        write_source(folder, Adapter(task, tensors), backbone)
        folders.append(folder)
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for path in sorted((shared_data / "pets").rglob("*.jpg"))[::8]:
        (photographs / path.name).symlink_to(path)
    manifest = export(folders[:1], tmp_path / "one", merge=True, shared=False, weights=weights, images=photographs)
    both = export(folders, tmp_path / "both", weights=weights, images=photographs)
    assert both.slots == tuple(range(12))
    photographed = len(list(photographs.iterdir()))
    assert [report.images for report in manifest.parity] == [photographed]
    assert sum(report.images for report in both.parity) == photographed + 1 > 40  # one of them about both tasks
    for report in (*manifest.parity, *both.parity):
        assert report.max_abs < 1e-4
        assert report.cosine > 1 - 1e-8
        assert report.agreement == 1
    graph = open_engine(
        bundle.read_graph(tmp_path / "both", both.graphs[0]), "graph", EngineOptions(device="cpu", threads=2)
    )
    facts = json.loads(graph.metadata[graph_facts.KEY])
    assert facts["backbone"]["name"] == "deit_tiny_patch16_224.fb_in1k"
