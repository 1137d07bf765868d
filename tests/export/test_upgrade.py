"""export.upgrade: a bundle of version 1 answers after its conversion as it did before, or stays what it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from adaptertune_deploy.core.adapter import bank, heads
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle import publish
from adaptertune_deploy.core.bundle.manifest import Manifest, select_graph
from adaptertune_deploy.core.errors import ExportError, FormatError, ParityError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.core.storage import tensors
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import ON_CPU
from adaptertune_deploy.engines.verification.contract import check_contract
from adaptertune_deploy.export import upgrade as upgrading
from adaptertune_deploy.export import version1
from adaptertune_deploy.export.merge import merged_graph
from adaptertune_deploy.export.upgrade import upgrade
from tests.export.old_bundles import GOLDEN, OLD_PARITY, downgrade

CLASSES = {"birds": 3, "cars": 5}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The golden bundle as version 1 had it."""
    shutil.copytree(GOLDEN / "bundle", tmp_path / "bundle")
    return downgrade(tmp_path / "bundle")


def contents(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def pictures(manifest: Manifest) -> Array:
    spec = manifest.preprocess
    return np.stack([preprocess.preprocess(path.read_bytes(), spec) for path in sorted((GOLDEN / "images").iterdir())])


def expected() -> dict[str, Array]:
    """Torch's logits of the golden images."""
    shapes = {**{name: (4, count) for name, count in CLASSES.items()}, "trees": (4, 4), "cars-adapter": (4, 5)}
    return tensors.unpack((GOLDEN / "logits.safetensors").read_bytes(), shapes, "golden")


def test_its_answers_stay_torchs(folder: Path) -> None:
    manifest = upgrade(folder)
    assert bundle.read_manifest(folder) == manifest
    images = pictures(manifest)
    adapters = [bundle.read_task(folder, manifest, record) for record in manifest.tasks]
    graph = select_graph(manifest, "shared")
    engine = open_engine(bundle.read_graph(folder, graph), "g", ON_CPU)
    assert {name: info.dtype.name for name, info in engine.inputs.items()} == graph.inputs
    rows = np.array([(image, task) for image in range(4) for task in range(2)], dtype=np.int64)
    feeds = {bank.IMAGES: images, bank.IMAGE: rows[:, 0].copy(), bank.TASK: rows[:, 1].copy()}
    parts = [bank.folded_blocks(adapter) for adapter in adapters]
    features = engine.run({**feeds, **bank.stack(parts, manifest.slots, manifest.backbone.width)})[bank.FEATURES]
    found = heads.apply([heads.head_of(adapter) for adapter in adapters], features, rows[:, 1])
    for (image, task), logits in zip(rows.tolist(), found, strict=True):
        np.testing.assert_allclose(logits, expected()[adapters[task].task.name][image], atol=1e-5)
    for name in CLASSES:
        merged = bundle.read_graph(folder, select_graph(manifest, "merged", task=name))
        logits = open_engine(merged, "g", ON_CPU).run({bank.IMAGES: images})[bank.LOGITS]
        np.testing.assert_allclose(logits, expected()[name], atol=1e-5)


def test_the_old_files_go_and_what_is_not_the_bundles_stays(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    old = version1.read_manifest(folder)
    manifest = upgrade(folder)
    assert set(contents(folder)) == {"manifest.json", "notes.txt", *manifest.files}
    assert {record.file for record in manifest.tasks} < set(old.files)


def test_what_was_measured_stays_on_record(folder: Path) -> None:
    manifest = upgrade(folder)
    assert [(entry.task, entry.graph) for entry in manifest.parity] == [
        (name, select_graph(manifest, "shared").file) for name in CLASSES
    ]
    for entry in manifest.parity:
        assert (entry.engine, entry.engine_version, entry.rtol) == ("onnxruntime", "1.20.0", 0)
        assert (entry.images, entry.max_abs, entry.atol) == (32, OLD_PARITY["max_abs"], OLD_PARITY["tolerance"])


def test_the_cut_graph_computes_nothing_that_nobody_asks_for(folder: Path) -> None:
    manifest = upgrade(folder)
    model = onnx.load_from_string(bundle.read_graph(folder, select_graph(manifest, "shared")))
    onnx.checker.check_model(model, full_check=True)
    read = {name for node in model.graph.node for name in node.input} | {"features"}
    assert all(set(node.output) & read for node in model.graph.node)
    assert {entry.name for entry in model.graph.initializer} <= read


def test_a_bundle_that_an_older_release_wrote_takes_merged_tasks(tmp_path: Path) -> None:
    """Its own files, not made of today's: class token by Expand and Concat, queries by Slice, weights called val_N."""
    folder = Path(shutil.copytree(Path(__file__).parent / "golden_version1", tmp_path / "bundle"))
    images = pictures(upgrade(folder))
    for task, ship, wanted in (
        ("trees", None, "trees"),  # new; adapts the last block only
        ("birds", None, "birds"),  # there already, with a merged graph that version 1 had traced
        ("cars", None, "cars"),  # a head only: no block adapted
        ("cars", "adapter", "cars-adapter"),
    ):
        publish.add_task(folder, GOLDEN / "adapters" / task, ship=ship, merge=merged_graph)
        manifest = bundle.read_manifest(folder)
        graph = select_graph(manifest, "merged", task=task)
        data = bundle.read_graph(folder, graph)
        onnx.checker.check_model(onnx.load_from_string(data), full_check=True)
        engine = open_engine(data, "g", ON_CPU)
        check_contract(engine, bundle.facts_of(manifest, task), "g", graph.inputs)
        for few in (images, images[:1]):
            found = engine.run({bank.IMAGES: few})[bank.LOGITS]
            np.testing.assert_allclose(found, expected()[wanted][: len(few)], atol=2e-5)


def test_a_bundle_of_this_version_is_no_bundle_of_version_1(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "bundle", tmp_path / "bundle")
    before = contents(tmp_path / "bundle")
    with pytest.raises(FormatError, match="format_version is 2, this release reads 1"):
        upgrade(tmp_path / "bundle")
    assert contents(tmp_path / "bundle") == before


def no_head(data: bytes) -> bytes:
    """Return a shared graph whose head is spelled otherwise than any release spelled it."""
    model = onnx.load_from_string(data)
    for node in model.graph.node:
        if node.op_type == "Unsqueeze" and node.output[0] == "unsqueeze":
            node.op_type, node.input[1] = "Reshape", "head_shape"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, 1, 32], dtype=np.int64), "head_shape"))
    return bytes(model.SerializeToString())


def other_features(data: bytes, where: str) -> bytes:
    """Convert a shared graph wrongly: its features come out a little larger."""
    model = onnx.load_from_string(cut(data, where))
    node = next(node for node in model.graph.node if "features" in node.output)
    node.output[0] = "before"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.float32(1.01), "factor"))
    model.graph.node.append(onnx.helper.make_node("Mul", ["before", "factor"], ["features"]))
    return bytes(model.SerializeToString())


cut = upgrading.cut_head


def test_a_conversion_that_answers_otherwise_changes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(folder)
    monkeypatch.setattr(upgrading, "cut_head", other_features)
    with pytest.raises(ParityError, match=r"converted, it answers otherwise than before .*; the bundle is as it was"):
        upgrade(folder)
    assert contents(folder) == before


def put_graph(folder: Path, change: Callable[[bytes], bytes]) -> None:
    """Change the shared graph of a bundle of version 1, which vouches for it again."""
    document = json.loads((folder / "manifest.json").read_text())
    old = folder / document["shared"]["file"]
    data = change(old.read_bytes())
    digest = bundle.files.sha256_bytes(data)
    document["shared"] |= {"file": f"backbone-{digest[:8]}.onnx", "sha256": digest}
    old.unlink()
    (folder / document["shared"]["file"]).write_bytes(data)
    (folder / "manifest.json").write_text(json.dumps(document))


def test_a_graph_that_no_release_wrote_is_refused_and_nothing_changes(folder: Path) -> None:
    put_graph(folder, no_head)
    before = contents(folder)
    with pytest.raises(ExportError, match=r"backbone-\w{8}\.onnx: is no shared graph that atd export wrote"):
        upgrade(folder)
    assert contents(folder) == before


def test_interrupted_before_the_manifest_the_old_bundle_is_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = contents(folder)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bundle, "write_manifest", stop)
    with pytest.raises(KeyboardInterrupt):
        upgrade(folder)
    assert contents(folder) == before


def test_many_tasks_are_compared_in_several_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upgrading, "TOGETHER", 1)
    assert len(upgrade(folder).graphs) == 3
