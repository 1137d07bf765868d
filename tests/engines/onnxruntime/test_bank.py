"""engines.onnxruntime.bank: biases come as columns out of one Gather each, and every answer is the same to the bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import select_graph
from adaptertune_deploy.engines.engine import open_engine
from adaptertune_deploy.engines.onnx import nodes as onnx_nodes
from adaptertune_deploy.engines.onnx.nodes import Changes, WireGraph, WireNode
from adaptertune_deploy.engines.onnxruntime import attention as ort_attention
from adaptertune_deploy.engines.onnxruntime import session
from adaptertune_deploy.engines.onnxruntime.bank import columns
from adaptertune_deploy.engines.options import ON_CPU

BUNDLE = Path(__file__).parents[2] / "device" / "golden" / "bundle"
MANIFEST = bundle.read_manifest(BUNDLE)
SHARED = bundle.read_graph(BUNDLE, select_graph(MANIFEST, "shared"))
BIASES = 2 * len(MANIFEST.slots)


def feeds(rows: int, tasks: int, rank: int = 3) -> dict[str, Any]:
    draw = np.random.default_rng(0)
    shapes = bank.slot_shapes(MANIFEST.slots, MANIFEST.backbone.width, rank)
    held = {name: draw.normal(size=(tasks, *shape)).astype(np.float32) for name, shape in shapes.items()}
    images = draw.normal(size=(2, 3, *MANIFEST.preprocess.size)).astype(np.float32)
    return {
        bank.IMAGES: images,
        bank.IMAGE: draw.integers(0, 2, rows),
        bank.TASK: draw.integers(0, tasks, rows),
        **held,
    }


@pytest.mark.parametrize(("rows", "tasks"), [(1, 1), (1, 5), (3, 1), (8, 5)])
def test_every_answer_is_the_same_to_the_bit(monkeypatch: pytest.MonkeyPatch, rows: int, tasks: int) -> None:
    given = feeds(rows, tasks)
    found = open_engine(SHARED, "shared", ON_CPU).run(given)[bank.FEATURES]
    monkeypatch.setattr(ort_attention, "columns", lambda *_: {})
    wanted = open_engine(SHARED, "shared", ON_CPU).run(given)[bank.FEATURES]
    np.testing.assert_array_equal(found, wanted)


def test_one_column_takes_the_place_of_an_axis_for_each_bias() -> None:
    before, after = onnx_nodes.read(SHARED), onnx_nodes.read(ort_attention.fuse(SHARED))
    assert count(before, "Unsqueeze") == BIASES
    assert count(after, "Unsqueeze") == 1
    column = next(node for node in after.nodes if node.operator == "Unsqueeze").outputs[0]
    assert sum(column in node.inputs for node in after.nodes) == BIASES
    assert session.fuse is ort_attention.fuse


def count(graph: WireGraph, operator: str) -> int:
    return sum(node.operator == operator for node in graph.nodes)


def test_a_merged_graph_has_no_bank() -> None:
    merged = bundle.read_graph(BUNDLE, select_graph(MANIFEST, "merged", task="birds"))
    assert columns(onnx_nodes.read(merged), "atd.") == {}


@pytest.mark.parametrize("change", ["read twice", "other axis", "axis of no constant", "another index"])
def test_what_is_not_written_so_is_left(change: str) -> None:
    """One bias is spelled otherwise; the others are replaced all the same."""
    graph = onnx_nodes.read(SHARED)
    place = next(index for index, node in enumerate(graph.nodes) if node.operator == "Unsqueeze")
    node = graph.nodes[place]
    gather = next(index for index, maker in enumerate(graph.nodes) if node.inputs[0] in maker.outputs)
    made = graph.nodes[gather]
    other = {
        "read twice": {place: [node, WireNode("Neg", (node.inputs[0],), ("more",), name="more")]},
        "other axis": {place: [WireNode("Unsqueeze", (node.inputs[0], "two"), node.outputs, name="u")]},
        "axis of no constant": {place: [WireNode("Unsqueeze", (node.inputs[0], bank.IMAGE), node.outputs, name="u")]},
        "another index": {gather: [WireNode("Gather", (made.inputs[0], bank.IMAGE), made.outputs, name="g")]},
    }[change]
    changed = onnx_nodes.read(onnx_nodes.replace(graph, Changes(other, {"two": [2]})))
    found = [node for nodes in columns(changed, "atd.").values() for node in nodes]
    assert sum(node.operator == "Gather" for node in found) == BIASES - 1
    assert not any(node.outputs == graph.nodes[place].outputs for node in found)
