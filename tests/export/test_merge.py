"""export.merge: one file per task that computes what torch computes, made without tracing."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.errors import ExportError
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.model.backbone import Backbone
from tests.builders import make_adapter, make_task
from tests.export.conftest import SLOTS, OpenGraph, merged_of, reference, scaled_adapter


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
    shared_graph: bytes, backbone: Backbone, images: Array, open_graph: OpenGraph, rank: int
) -> None:
    task = make_task(classes=6, rank=rank, blocks=(1,), temperature=1.7)
    adapter = scaled_adapter(make_adapter(task, backbone.spec, seed=5))
    data = merged_of(shared_graph, backbone, adapter)
    engine = open_graph(data)
    wanted = reference(backbone, adapter, images[:4])
    cold = Adapter(dataclasses.replace(task, temperature=1.0), adapter.tensors)
    np.testing.assert_allclose(wanted * 1.7, reference(backbone, cold, images[:4]), rtol=1e-5, atol=1e-6)
    assert np.abs(engine.run({bank.IMAGES: images[:4]})[bank.LOGITS] - wanted).max() < 1e-5
    facts = graph_facts.from_metadata(engine.metadata, "graph.onnx")
    assert (facts.task, facts.slots) == (task, task.adapter.blocks)
    erf = [node for node in onnx.load_from_string(data).graph.node if node.op_type == "Gelu"]
    assert len(erf) == backbone.spec.depth + (1 if rank else 0)


@pytest.mark.parametrize(("rank", "blocks"), [(0, ()), (1, (0,)), (3, (1,)), (5, (0, 2)), (9, (1, 2)), (2, SLOTS)])
def test_any_blocks_and_rank_give_one_file_whatever_it_is_made_of(
    shared_graph: bytes,
    backbone: Backbone,
    merged_graphs: list[bytes],
    images: Array,
    open_graph: OpenGraph,
    rank: int,
    blocks: tuple[int, ...],
) -> None:
    adapter = scaled_adapter(make_adapter(make_task("one", classes=7, rank=rank, blocks=blocks), backbone.spec, seed=8))
    data = merged_of(shared_graph, backbone, adapter)
    assert merged_of(merged_graphs[0], backbone, adapter) == data  # pets' graph, which adapts every block
    assert merged_of(data, backbone, adapter) == data
    wanted = reference(backbone, adapter, images[:3])
    assert np.abs(open_graph(data).run({bank.IMAGES: images[:3]})[bank.LOGITS] - wanted).max() < 1e-5


def test_a_model_may_be_given_and_stays_as_it_is(
    shared_graph: bytes, backbone: Backbone, held: Sequence[Adapter], merged_graphs: list[bytes]
) -> None:
    model = onnx.load_from_string(shared_graph)
    before = model.SerializeToString(deterministic=True)
    for adapter, data in zip(held, merged_graphs, strict=True):
        assert merged_of(model, backbone, adapter) == data
    assert model.SerializeToString(deterministic=True) == before


def test_the_graph_is_that_of_the_backbone_and_six_nodes_an_adapter(
    shared_graph: bytes, backbone: Backbone, merged_graphs: list[bytes]
) -> None:
    head_only = make_adapter(make_task("head", classes=7, rank=0), backbone.spec)
    bare = onnx.load_from_string(merged_of(shared_graph, backbone, head_only)).graph
    assert not [entry.name for entry in bare.initializer if "adapter" in entry.name]
    for data, adapters in zip(merged_graphs, (3, 1, 2), strict=True):
        graph = onnx.load_from_string(data).graph
        added = Counter(node.op_type for node in graph.node) - Counter(node.op_type for node in bare.node)
        assert added == {"MatMul": 2 * adapters, "Add": 3 * adapters, "Gelu": adapters}
        assert [entry.name for entry in graph.input] == [bank.IMAGES]
        onnx.checker.check_model(onnx.load_from_string(data), full_check=True)


def test_a_source_that_lacks_a_block_or_is_of_another_backbone_is_refused(
    last_slot: bytes, backbone: Backbone, held: Sequence[Adapter]
) -> None:
    with pytest.raises(ExportError, match=r"^task 'pets' adapts block 0, but the source graph adapts blocks 2 only;"):
        merged_of(last_slot, backbone, held[0])
    other = dataclasses.replace(backbone, spec=dataclasses.replace(backbone.spec, sha256="0" * 64))
    with pytest.raises(ExportError, match=r"^the source graph is of backbone vit_tiny.+, the task of .+ 000000000000;"):
        merged_of(last_slot, other, held[1])


def test_a_graph_of_somebody_else_is_refused(shared_graph: bytes, backbone: Backbone, held: Sequence[Adapter]) -> None:
    model = onnx.load_from_string(shared_graph)
    branch = next(node for node in model.graph.node if node.name == "blocks.0.adapter.Gelu")
    branch.op_type = "Tanh"
    with pytest.raises(ExportError, match=r"^the source graph's adapter after block 0 is not one of ours;"):
        merged_of(model, backbone, held[1])
    with pytest.raises(ExportError, match=r"^the source graph: not an ONNX file, or a damaged one"):
        merged_of(b"\x3a\xff\x01", backbone, held[1])


def test_no_torch_is_needed() -> None:
    script = "import sys; import adaptertune_deploy.export.merge; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
