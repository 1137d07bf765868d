"""export.merged: one file per task that computes what torch computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from adaptertune_deploy.core import bank, graph_facts
from adaptertune_deploy.core.adapter import Adapter
from adaptertune_deploy.core.tensors import Array
from adaptertune_deploy.export.merged import export_merged
from adaptertune_deploy.model.backbone import Backbone
from tests.builders import make_adapter, make_task
from tests.export.conftest import OpenGraph, reference, scaled_adapter


@pytest.mark.parametrize("batch", [1, 2, 7, 32])
def test_a_merged_graph_computes_what_torch_computes(
    merged_graphs: list[bytes], expected: list[Array], images: Array, open_graph: OpenGraph, batch: int
) -> None:
    for data, wanted in zip(merged_graphs, expected, strict=True):
        found = open_graph(data).run({bank.IMAGES: images[:batch]})[bank.LOGITS]
        assert found.shape == wanted[:batch].shape
        assert np.abs(found - wanted[:batch]).max() < 1e-5


def test_the_adapters_change_the_answers(expected: list[Array]) -> None:
    """Otherwise the comparisons above would prove nothing about them."""
    assert all(np.ptp(wanted) > 1 for wanted in expected)


def test_the_tensors_keep_their_names(held: Sequence[Adapter], merged_graphs: list[bytes]) -> None:
    for adapter, data in zip(held, merged_graphs, strict=True):
        stored = {entry.name: entry for entry in onnx.load_from_string(data).graph.initializer}
        for name, tensor in adapter.tensors.items():
            alpha = adapter.task.adapter.alpha if ".up." in name else 1.0
            wanted = (tensor.astype(np.float64) * alpha).T
            np.testing.assert_allclose(numpy_helper.to_array(stored[name]), wanted, rtol=1e-6)


def test_one_file_says_all_that_an_answer_needs(
    backbone: Backbone, held: Sequence[Adapter], merged_graphs: list[bytes], open_graph: OpenGraph
) -> None:
    facts = graph_facts.from_metadata(open_graph(merged_graphs[1]).metadata, "graph.onnx")
    assert facts.task == held[1].task
    assert facts.task is not None
    assert facts.task.labels[3] == "flowers 3"
    assert facts.preprocess == backbone.preprocess
    assert facts.backbone == backbone.spec
    assert facts.slots == (2,)


@pytest.mark.parametrize("rank", [0, 3])
def test_the_temperature_divides_the_logits_of_a_head_only_too(
    backbone: Backbone, images: Array, open_graph: OpenGraph, rank: int
) -> None:
    task = make_task(classes=6, rank=rank, blocks=(1,), temperature=1.7)
    adapter = scaled_adapter(make_adapter(task, backbone.spec, seed=5))
    data = export_merged(backbone, adapter)
    engine = open_graph(data)
    wanted = reference(backbone, adapter, images[:4])
    cold = Adapter(dataclasses.replace(task, temperature=1.0), adapter.tensors)
    np.testing.assert_allclose(wanted * 1.7, reference(backbone, cold, images[:4]), rtol=1e-5, atol=1e-6)
    assert np.abs(engine.run({bank.IMAGES: images[:4]})[bank.LOGITS] - wanted).max() < 1e-5
    facts = graph_facts.from_metadata(engine.metadata, "graph.onnx")
    assert (facts.task, facts.slots) == (task, task.adapter.blocks)
    erf = [node for node in onnx.load_from_string(data).graph.node if node.op_type == "Gelu"]
    assert len(erf) == backbone.spec.depth + (1 if rank else 0)
