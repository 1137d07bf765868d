"""The quickstart does the main job for real: its folder and its facts are checked, not only its exit code."""

from __future__ import annotations

import json

from adaptertune_deploy.core.adapter.folder import read_adapter
from adaptertune_deploy.core.bundle.folder import read_graph, read_manifest
from tests.flow.conftest import Workspace


def test_it_trains_both_tasks_and_counts_their_parameters(workspace: Workspace) -> None:
    assert [row["task"] for row in workspace.facts["tasks"]] == ["digits", "shapes"]
    for row in workspace.facts["tasks"]:
        folder = workspace.folder / "adapters" / row["task"]
        config, adapter = read_adapter(folder, "adapter")
        assert row["trainable"] == sum(tensor.size for tensor in adapter.tensors.values())
        assert 0 < row["share"] < 0.05
        assert config.ships == row["ships"]
        assert config.metrics["test_top1_shipped"] == row[row["ships"]]["top1"]


def test_both_forms_agree_with_torch(workspace: Workspace) -> None:
    manifest = read_manifest(workspace.folder / "bundle")
    for graph in manifest.graphs:
        assert len(read_graph(workspace.folder / "bundle", graph)) == graph.bytes > 1_000_000
    for record in manifest.tasks:
        for form, images in (("shared", 16), ("merged", 2)):
            (parity,) = manifest.parity_of(record.task.name, form)
            assert parity.max_abs < 1e-4
            assert parity.agreement == 1.0
            assert parity.images >= images


def test_the_server_answered_images_of_both_tasks_in_one_request(workspace: Workspace) -> None:
    assert workspace.facts["mixed_batch_images"] == 16
    assert workspace.facts["mixed_batch_right"] >= 8
    assert workspace.facts["largest_difference_served"] < 1e-5
    assert all(row["latency_ms"] > 0 for row in workspace.facts["tasks"])


def test_one_backbone_with_adapters_is_smaller_than_merged_graphs(workspace: Workspace) -> None:
    assert workspace.facts["shared_bytes"] < 0.6 * workspace.facts["merged_bytes"]


def test_the_report_keeps_the_proofs(workspace: Workspace) -> None:
    for task in ("digits", "shapes"):
        report = json.loads((workspace.folder / "adapters" / task / "report" / "report.json").read_text())
        assert report["proofs"]["start_images"] == 8
        assert report["proofs"]["adapters_with_gradient"] == 8
        assert report["proofs"]["frozen_tensors"] > 50
        assert report["proofs"]["frozen_sha256"] == read_manifest(workspace.folder / "bundle").backbone.sha256


def test_it_touches_nothing_but_its_own_folder(workspace: Workspace) -> None:
    assert workspace.held == (["quickstart"], ["adapters", "bundle"])
