"""engines.onnxruntime.derived: what is opened in place of a bundle's graph, and what the engine says of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import select_graph
from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.onnx import nodes as onnx_nodes
from adaptertune_deploy.engines.onnx import signature as onnx_signature
from adaptertune_deploy.engines.onnx.nodes import Changes, WireNode
from adaptertune_deploy.engines.onnxruntime import session
from adaptertune_deploy.engines.onnxruntime.derived import Derived, derive
from adaptertune_deploy.engines.onnxruntime.library import ort, ort_errors
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import ON_CPU
from tests.engines.onnx_files import lookup

BUNDLE = Path(__file__).parents[2] / "device" / "golden" / "bundle"
MANIFEST = bundle.read_manifest(BUNDLE)
SHARED = bundle.read_graph(BUNDLE, select_graph(MANIFEST, "shared"))
MERGED = bundle.read_graph(BUNDLE, select_graph(MANIFEST, "merged", task="birds"))
SLOTS, WIDTH = MANIFEST.slots, MANIFEST.backbone.width


def feeds(rows: int, tasks: int, rank: int = 3) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return rows, and the bank that they ask."""
    draw = np.random.default_rng(0)
    shapes = bank.slot_shapes(SLOTS, WIDTH, rank)
    held = {name: draw.normal(size=(tasks, *shape)).astype(np.float32) for name, shape in shapes.items()}
    images = draw.normal(size=(2, 3, *MANIFEST.preprocess.size)).astype(np.float32)
    return {
        bank.IMAGES: images,
        bank.IMAGE: draw.integers(0, 2, rows),
        bank.TASK: draw.integers(0, tasks, rows),
    }, held


def domains(data: bytes) -> set[str]:
    return {node.domain for node in onnx_nodes.read(data).nodes}


def test_a_shared_graph_gets_fused_attention_and_a_stacked_bank() -> None:
    derived = derive(SHARED, "g")
    assert derived.own
    assert derived.bank is not None
    assert (derived.bank.slots, derived.bank.width) == (SLOTS, WIDTH)
    assert domains(derived.graph) == {"", "com.microsoft"}
    assert set(derived.bank.infos) < set(onnx_signature.read(derived.graph, "g").inputs)
    assert session.derive is derive


def test_a_merged_graph_has_no_bank() -> None:
    derived = derive(MERGED, "g")
    assert (derived.bank, derived.own, domains(derived.graph)) == (None, True, {"", "com.microsoft"})


def test_what_is_no_graph_of_exports_is_opened_as_it_is() -> None:
    data = lookup()
    assert derive(data, "g") == Derived(data)
    assert derive(b"garbage", "g") == Derived(b"garbage")
    assert derive(data, "g").graph is data


@pytest.mark.parametrize("rows", [1, 8])
def test_a_bank_of_another_form_stays_and_answers_alike(rows: int) -> None:
    graph = onnx_nodes.read(SHARED)
    place = next(index for index, node in enumerate(graph.nodes) if node.operator == "Unsqueeze")
    node = graph.nodes[place]
    twice = {place: [node, WireNode("Identity", (node.inputs[0],), ("more",), name="more")]}
    other = onnx_nodes.replace(graph, Changes(twice))
    assert derive(other, "g").bank is None
    asked, held = feeds(rows, 5)
    with_it, without = (open_engine(data, "g", ON_CPU) for data in (SHARED, other))
    assert with_it.inputs == without.inputs
    found, expected = (engine.run({**asked, **held})[bank.FEATURES] for engine in (with_it, without))
    np.testing.assert_array_equal(found, expected)


def test_names_of_ours_in_a_file_leave_it_as_it_is() -> None:
    graph = onnx_nodes.read(SHARED)
    place = next(index for index, node in enumerate(graph.nodes) if node.operator == "Unsqueeze")
    node = graph.nodes[place]
    data = onnx_nodes.replace(graph, Changes({place: [WireNode("Unsqueeze", node.inputs, node.outputs, name="atd.u")]}))
    assert derive(data, "g").graph is data


@pytest.mark.parametrize("rows", [1, 8])
def test_fed_resident_and_alone_a_task_answers_the_same(rows: int) -> None:
    asked, held = feeds(rows, 5)
    engine = open_engine(SHARED, "g", ON_CPU)
    assert dict(engine.inputs) == dict(onnx_signature.read(SHARED, "g").inputs)
    slab = engine.allocate({name: array.shape[1:] for name, array in held.items()}, 5)
    for task in range(5):
        slab.write(task, {name: array[task] for name, array in held.items()})
    fed = engine.run({**asked, **held})[bank.FEATURES]
    np.testing.assert_array_equal(engine.run(asked, slab)[bank.FEATURES], fed)
    for task in range(5):
        one = {**asked, bank.TASK: np.full(rows, task)}
        alone = engine.run({**one, bank.TASK: np.zeros(rows, np.int64)}, slab, task)[bank.FEATURES]
        np.testing.assert_array_equal(alone, engine.run(one, slab)[bank.FEATURES])


def test_a_task_of_another_graph_gets_no_room() -> None:
    engine = open_engine(SHARED, "g", ON_CPU)
    shapes = bank.slot_shapes(SLOTS, WIDTH, 3)
    del shapes["blocks.0.adapter.up.bias"]
    with pytest.raises(EngineError, match="not the shapes of one task's tensors of this graph"):
        engine.allocate(shapes, 2)


def test_a_build_without_own_operators_still_gets_the_stacked_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    real, opened = ort.InferenceSession, []

    def without(data: bytes, *rest: Any, **options: Any) -> Any:
        if b"com.microsoft" in data:
            raise ort_errors.InvalidGraph("com.microsoft:Attention is not a registered function/op")
        opened.append(data)
        return real(data, *rest, **options)

    asked, held = feeds(3, 5)
    expected = open_engine(SHARED, "g", ON_CPU).run({**asked, **held})[bank.FEATURES]
    monkeypatch.setattr(ort, "InferenceSession", without)
    found = open_engine(SHARED, "g", ON_CPU).run({**asked, **held})[bank.FEATURES]
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert opened == [derive(SHARED, "g", own=False).graph]
    assert domains(opened[0]) == {""}
