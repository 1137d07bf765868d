from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from adaptertune_deploy.core.bundle.folder import read_graph, read_manifest
from adaptertune_deploy.core.bundle.manifest import MERGED
from adaptertune_deploy.export.targets.triton import merged
from tests.export.targets.triton.repository import copy_bundle, parse


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return copy_bundle(tmp_path)


def test_a_model_a_task(bundle: Path, tmp_path: Path) -> None:
    manifest = read_manifest(bundle)
    merged.write(bundle, manifest, tmp_path / "merged", "cuda:1")
    assert sorted(path.name for path in (tmp_path / "merged").iterdir()) == ["birds", "cars"]
    for record in manifest.tasks:
        model = tmp_path / "merged" / record.task.name
        graph = merged.graph_of(manifest, record.task.name)
        assert graph is not None
        assert (model / "1" / "model.onnx").read_bytes() == read_graph(bundle, graph)
        assert (model / "labels.txt").read_text().splitlines() == list(record.task.labels)
        said = parse((model / "config.pbtxt").read_text())
        assert (said["name"], said["backend"]) == ([record.task.name], ["onnxruntime"])
        assert said["input"] == [{"name": ["images"], "data_type": ["TYPE_FP32"], "dims": ["3", "32", "32"]}]
        (output,) = said["output"]
        assert output["dims"] == [str(len(record.task.labels))]
        assert output["label_filename"] == ["labels.txt"]
        assert said["instance_group"] == [{"kind": ["KIND_GPU"], "count": ["1"], "gpus": ["1"]}]
        steps = json.loads((model / "preprocess.json").read_text())
        assert steps["size"] == list(manifest.preprocess.size)


def test_a_task_without_a_merged_graph_is_left_out(bundle: Path, tmp_path: Path) -> None:
    manifest = read_manifest(bundle)
    graphs = tuple(graph for graph in manifest.graphs if (graph.form, graph.task) != (MERGED, "cars"))
    merged.write(bundle, dataclasses.replace(manifest, graphs=graphs), tmp_path / "merged", "cpu")
    assert [path.name for path in (tmp_path / "merged").iterdir()] == ["birds"]


def test_a_label_stays_on_its_line(bundle: Path, tmp_path: Path) -> None:
    manifest = read_manifest(bundle)
    first, *rest = manifest.tasks
    task = dataclasses.replace(first.task, labels=("one\ntwo", "zwei", "drei é"))
    renamed = dataclasses.replace(manifest, tasks=(dataclasses.replace(first, task=task), *rest))
    merged.write(bundle, renamed, tmp_path / "merged", "cpu")
    assert (tmp_path / "merged" / "birds" / "labels.txt").read_text() == "one two\nzwei\ndrei é\n"
