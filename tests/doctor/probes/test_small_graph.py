"""The small graph, against onnx's checker, the product's own checks of a shared graph, and TensorRT's real parser."""

from __future__ import annotations

import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.doctor.probes import small_graph
from adaptertune_deploy.engines.onnx import signature as onnx_signature
from adaptertune_deploy.engines.onnx.plain_graph import check_plain
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.verification.contract import check_contract

GRAPH = small_graph.shared_graph()


def test_it_is_a_valid_graph_of_plain_operators() -> None:
    check_plain(GRAPH, "the small graph")
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(GRAPH)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (10, 20)


def test_it_is_a_shared_graph_as_a_bundle_has_one() -> None:
    opened = open_engine(GRAPH, "the small graph")
    facts = graph_facts.from_metadata(opened.metadata, "the small graph")
    check_contract(opened, facts, "the small graph")
    assert list(opened.inputs) == [bank.IMAGES, bank.IMAGE, bank.TASK, *bank.bank_names(small_graph.SLOTS)]
    opened.close()


@pytest.mark.parametrize("rank", [1, 3])
def test_a_task_has_every_tensor(rank: int) -> None:
    task = small_graph.task(rank)
    assert task.tensors["blocks.0.adapter.down.weight"].shape == (rank, small_graph.WIDTH)
    assert bank.folded_blocks(task)["blocks.0.adapter.up.weight"].shape == (rank, small_graph.WIDTH)


def test_tensorrt_takes_it_with_the_bank_packed() -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    from adaptertune_deploy.engines.bank import packed as packed_bank
    from adaptertune_deploy.engines.tensorrt.build import build
    from adaptertune_deploy.engines.tensorrt.request import BuildRequest
    from adaptertune_deploy.engines.tensorrt.shapes import Capacity

    layout = packed_bank.PackedBank.of(onnx_signature.read(GRAPH, "g").inputs, small_graph.SLOTS, "g")
    packed = packed_bank.pack(GRAPH, layout, "g")
    plan, _ = build(trt, packed, BuildRequest(Capacity(8, 4, 8, 16, 1), "8.9"), b"", "g")
    assert plan
