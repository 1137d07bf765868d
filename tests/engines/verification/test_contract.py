"""engines.verification.contract: a graph of something else than the manifest says is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.bundle.folder import facts_of, merged_facts, read_graph, read_manifest, shared_facts
from adaptertune_deploy.core.bundle.graph_facts import GraphFacts
from adaptertune_deploy.core.bundle.manifest import select_graph
from adaptertune_deploy.core.errors import FormatError
from adaptertune_deploy.engines.engine import TensorInfo
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import ON_CPU
from adaptertune_deploy.engines.verification.contract import check_contract, input_types
from tests.builders import make_backbone_spec, make_preprocess_spec, make_task

GOLDEN = Path(__file__).parents[2] / "device" / "golden" / "bundle"
MANIFEST = read_manifest(GOLDEN)
BIRDS, CARS = MANIFEST.tasks
SHARED_GRAPH = select_graph(MANIFEST, "shared")
BIRDS_GRAPH, CARS_GRAPH = (select_graph(MANIFEST, "merged", task=record.task.name) for record in (BIRDS, CARS))
PETS = make_task("pets", classes=10, blocks=(1, 2))


def make_facts(merged: bool, **changes: Any) -> GraphFacts:
    slots, task = (PETS.adapter.blocks, PETS) if merged else ((0, 2), None)
    return replace(GraphFacts(2, make_backbone_spec(), make_preprocess_spec(), slots, task), **changes)


def tensor(name: str, *shape: int | str, dtype: type = np.float32) -> TensorInfo:
    return TensorInfo(name, np.dtype(dtype), shape)


def make_engine(merged: bool) -> SimpleNamespace:
    """Return what a right engine for make_facts says about its graph, spelled out."""
    inputs = [tensor("images", "N", 3, 32, 32)]
    if not merged:
        inputs += [tensor("image", "rows", dtype=np.int64), tensor("task", "rows", dtype=np.int64)]
        for block in (0, 2):
            inputs += [
                tensor(f"blocks.{block}.adapter.down.weight", "T", 8, "r"),
                tensor(f"blocks.{block}.adapter.down.bias", "T", "r"),
                tensor(f"blocks.{block}.adapter.up.weight", "T", "r", 8),
                tensor(f"blocks.{block}.adapter.up.bias", "T", 8),
            ]
    return SimpleNamespace(
        inputs={info.name: info for info in inputs},
        outputs={"logits": tensor("logits", "?", 10)} if merged else {"features": tensor("features", "?", 8)},
        metadata=graph_facts.to_metadata(make_facts(merged)),
    )


def complaint(engine: Any, facts: GraphFacts) -> str:
    with pytest.raises(FormatError) as caught:
        check_contract(engine, facts, "bundle/g.onnx")
    text = str(caught.value)
    assert text.startswith("bundle/g.onnx: ")
    assert text.isprintable()
    return text.removeprefix("bundle/g.onnx: ")


@pytest.mark.parametrize("merged", [False, True])
def test_a_graph_that_fits_is_accepted_whatever_its_dynamic_sizes_are_called(merged: bool) -> None:
    check_contract(make_engine(merged), make_facts(merged), "g.onnx")


def with_task(**changes: Any) -> dict[str, Any]:
    return {"task": replace(PETS, **changes)}


FEWER, SWAPPED = PETS.labels[:4], (PETS.labels[1], PETS.labels[0], *PETS.labels[2:])
NORMALISED = {"mean": (0.5, 0.456, 0.406)}


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        (with_task(name="dogs"), "says it answers task 'pets', the manifest says 'dogs'; run atd export again"),
        (with_task(labels=FEWER), "says it has 10 labels, the manifest says 4; run atd export again"),
        (with_task(labels=tuple(map(str, range(30)))), "says it has 10 labels, the manifest says 30"),
        (with_task(labels=SWAPPED), "says label 0 is 'pets 0', the manifest says 'pets 1'"),
        (with_task(adapter=replace(PETS.adapter, alpha=50.0)), "task.adapter.alpha is 1.0, the manifest says 50.0"),
        (with_task(adapter=replace(PETS.adapter, rank=3)), "says task.adapter.rank is 2, the manifest says 3"),
        ({"task": None}, "is the merged graph of task 'pets', the manifest says the shared graph"),
        ({"slots": (1, 3)}, "says slots is (1, 2), the manifest says (1, 3)"),
        (
            {"backbone": make_backbone_spec(sha256="c" * 64)},
            "says backbone.sha256 is bbbbbbbbbbbb..., the manifest says",
        ),
        ({"backbone": make_backbone_spec(name="vit.other")}, "backbone.name is 'vit_tiny_patch16_224.random', the man"),
        ({"backbone": make_backbone_spec(image_size=(64, 64))}, "image_size is (32, 32), the manifest says (64, 64)"),
        (
            {"preprocess": replace(make_preprocess_spec(), **NORMALISED)},
            "says preprocess.mean is (0.485, 0.456, 0.406)",
        ),
        ({"preprocess": make_preprocess_spec(size=(4000, 4000))}, "size is (32, 32), the manifest says (4000, 4000)"),
    ],
)
def test_a_graph_that_says_something_else_than_the_manifest_is_refused(expected: dict[str, Any], message: str) -> None:
    assert message in complaint(make_engine(merged=True), make_facts(True, **expected))


def backbone(**known: Any) -> dict[str, Any]:
    return {"backbone": replace(make_backbone_spec(), **known)}


def test_pooling_is_compared_where_both_sides_know_it() -> None:
    engine = make_engine(merged=True)
    check_contract(engine, make_facts(True, **backbone(pool="avg", patch_size=8, timm="1.0.20")), "g.onnx")
    engine.metadata = graph_facts.to_metadata(make_facts(True, **backbone(pool="token", timm="1.0.31")))
    text = complaint(engine, make_facts(True, **backbone(pool="avg", timm="1.0.20")))
    assert text == "says backbone.pool is 'token', the manifest says 'avg'; run atd export again"


def test_a_shared_graph_is_no_merged_one() -> None:
    text = complaint(make_engine(merged=False), make_facts(merged=True))
    assert text == "is the shared graph, the manifest says the merged graph of task 'pets'; run atd export again"


def test_a_graph_that_says_nothing_is_refused() -> None:
    engine = make_engine(merged=True)
    engine.metadata = {}
    assert "says nothing about its task and preprocessing; make graphs with: atd export" in complaint(
        engine, make_facts(merged=True)
    )


def test_a_hostile_label_is_shown_not_executed() -> None:
    engine, hostile = make_engine(merged=True), with_task(labels=("\x1b[2J\n", *PETS.labels[1:]))
    engine.metadata = graph_facts.to_metadata(make_facts(True, **hostile))
    assert r"says label 0 is '\x1b[2J\n', the manifest says 'pets 0'" in complaint(engine, make_facts(merged=True))


@pytest.mark.parametrize("merged", [False, True])
def test_images_of_another_size_than_the_backbones_are_refused_even_where_all_agree(merged: bool) -> None:
    engine, facts = make_engine(merged), make_facts(merged, preprocess=make_preprocess_spec(size=(64, 64)))
    engine.metadata = graph_facts.to_metadata(facts)
    assert "preprocess.size (64, 64) is not the backbone's image_size (32, 32)" in complaint(engine, facts)


WRONG_INPUTS = [
    (tensor("images", "N", 3, 32, 64), "input 'images' has shape ['N', 3, 32, 64], expected ['N', 3, 32, 32]"),
    (tensor("images", "N", 3, "H", "W"), "input 'images' has shape ['N', 3, 'H', 'W']"),
    (tensor("images", 1, 3, 32, 32), "input 'images' has shape [1, 3, 32, 32], expected ['N', 3, 32, 32]"),
    (tensor("images", "N", 3072), "input 'images' has shape ['N', 3072]"),
    (tensor("images", "N", 3, 32, 32, dtype=np.float16), "input 'images' is float16, expected float32"),
    (tensor("mask", "N"), "has an input 'mask' that no graph of its form has"),
]


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize(("info", "message"), WRONG_INPUTS)
def test_inputs_of_another_kind_are_refused(merged: bool, info: TensorInfo, message: str) -> None:
    engine = make_engine(merged)
    engine.inputs[info.name] = info
    assert message in complaint(engine, make_facts(merged))


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (tensor("task", "B", dtype=np.int32), "input 'task' is int32, expected int64"),
        (tensor("image", "B", 1, dtype=np.int64), "input 'image' has shape ['B', 1], expected ['B']"),
        (tensor("blocks.0.adapter.down.weight", "T", 9, "r"), "has shape ['T', 9, 'r'], expected ['T', 8, 'r']"),
        (tensor("blocks.2.adapter.up.bias", 1, 8), "up.bias' has shape [1, 8], expected ['T', 8]"),
        (tensor("head.bias", "T", "C"), "has an input 'head.bias' that no graph of its form has"),
        (tensor("blocks.1.adapter.down.weight", "T", 8, "r"), "an input 'blocks.1.adapter.down.weight' that no graph"),
    ],
)
def test_a_bank_of_another_kind_is_refused(info: TensorInfo, message: str) -> None:
    engine = make_engine(merged=False)
    engine.inputs[info.name] = info
    assert message in complaint(engine, make_facts(merged=False))


@pytest.mark.parametrize("name", sorted(make_engine(merged=False).inputs))
def test_a_missing_input_is_named(name: str) -> None:
    engine = make_engine(merged=False)
    del engine.inputs[name]
    assert f"has no input '{name}'" in complaint(engine, make_facts(merged=False))


@pytest.mark.case("E4", "outputs of other names, types or sizes", "refused")
@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([tensor("logits", "N", 3)], "output 'logits' has shape ['N', 3], expected ['B', 10]"),
        ([tensor("logits", "N", "C")], "output 'logits' has shape ['N', 'C'], expected ['B', 10]"),
        ([tensor("logits", 10)], "output 'logits' has shape [10]"),
        ([tensor("logits", 1, 10)], "output 'logits' has shape [1, 10]"),
        ([tensor("logits", "N", 10, dtype=np.float64)], "output 'logits' is float64, expected float32"),
        ([tensor("answer", "N", 10)], "has an output 'answer' that no graph of its form has"),
        ([tensor("logits", "N", 10), tensor("more", "N")], "has an output 'more' that no graph of its form has"),
        ([], "has no output 'logits'"),
    ],
)
def test_outputs_of_another_kind_are_refused(outputs: list[TensorInfo], message: str) -> None:
    engine = make_engine(merged=True)
    engine.outputs = {info.name: info for info in outputs}
    assert message in complaint(engine, make_facts(merged=True))


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (tensor("features", "B", 9), "output 'features' has shape ['B', 9], expected ['B', 8]"),
        (tensor("features", "B", "F"), "output 'features' has shape ['B', 'F'], expected ['B', 8]"),
        (tensor("logits", "B", "C"), "has an output 'logits' that no graph of its form has"),
    ],
)
def test_features_of_another_kind_are_refused(info: TensorInfo, message: str) -> None:
    engine = make_engine(merged=False)
    engine.outputs = {info.name: info}
    assert message in complaint(engine, make_facts(merged=False))


# Real graphs, opened by ONNX Runtime.


def test_the_graphs_of_a_bundle_fit_its_manifest() -> None:
    for record in MANIFEST.graphs:
        engine = open_engine(read_graph(GOLDEN, record), record.file, ON_CPU)
        facts = facts_of(MANIFEST, record.task)
        check_contract(engine, facts, record.file, record.inputs)
        assert input_types(facts) == record.inputs
        engine.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": "float16"}, "input 'images' is float32, the manifest says float16"),
        ({"mask": "int64"}, "input 'mask' is absent, the manifest says int64"),
    ],
)
def test_inputs_are_those_that_the_manifest_says(change: dict[str, str], message: str) -> None:
    engine = open_engine(read_graph(GOLDEN, BIRDS_GRAPH), "g", ON_CPU)
    with pytest.raises(FormatError, match=message):
        check_contract(engine, merged_facts(MANIFEST, BIRDS), "g", BIRDS_GRAPH.inputs | change)


@pytest.mark.case("E7", "graphs of two tasks swapped", "refused")
def test_swapped_graphs_are_told_apart() -> None:
    engine = open_engine(read_graph(GOLDEN, CARS_GRAPH), "g", ON_CPU)
    assert "says it answers task 'cars', the manifest says 'birds'" in complaint(engine, merged_facts(MANIFEST, BIRDS))
    assert "is the merged graph of task 'cars', the manifest says the shared graph" in complaint(
        engine, shared_facts(MANIFEST)
    )


def edit_facts(model: Any, change: Callable[[dict[str, Any]], None]) -> None:
    (entry,) = model.metadata_props
    facts = json.loads(entry.value)
    change(facts)
    entry.value = json.dumps(facts)


def rename_output(model: Any) -> None:
    model.graph.output[0].name = "answer"
    model.graph.node[-1].output[0] = "answer"


def cut_logits(model: Any) -> None:
    """Let the graph give the first 2 logits only."""
    from onnx import helper, numpy_helper

    for name, value in (("start", 0), ("end", 2), ("axis", 1)):
        model.graph.initializer.append(numpy_helper.from_array(np.array([value], dtype=np.int64), name))
    model.graph.node[-1].output[0] = "all"
    model.graph.node.append(helper.make_node("Slice", ["all", "start", "end", "axis"], ["logits"]))
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2


def add_output(model: Any) -> None:
    from onnx import TensorProto, helper

    model.graph.node.append(helper.make_node("Identity", ["logits"], ["copy"]))
    model.graph.output.append(helper.make_tensor_value_info("copy", TensorProto.FLOAT, ["N", 3]))


EDITS: dict[str, tuple[Callable[[Any], object], str]] = {
    "no facts": (lambda model: model.ClearField("metadata_props"), "says nothing about its task and preprocessing"),
    "no JSON": (lambda model: setattr(model.metadata_props[0], "value", "{"), "metadata 'adaptertune' is not JSON"),
    "another version": (lambda model: edit_facts(model, lambda f: f.update(format_version=9)), "has version 9"),
    "another backbone": (
        lambda model: edit_facts(model, lambda f: f["backbone"].update(sha256="0" * 64)),
        "says backbone.sha256 is 000000000000..., the manifest says",
    ),
    "another mean": (
        lambda model: edit_facts(model, lambda f: f["preprocess"].update(mean=[0.5, 0.5, 0.5])),
        "says preprocess.mean is (0.5, 0.5, 0.5), the manifest says (0.485, 0.456, 0.406)",
    ),
    "fewer labels": (
        lambda model: edit_facts(model, lambda f: f["task"].update(labels=["a", "b"])),
        "says it has 2 labels, the manifest says 3",
    ),
    "cut logits": (cut_logits, "output 'logits' has shape ['N', 2], expected ['B', 3]"),
    "renamed output": (rename_output, "has an output 'answer' that no graph of its form has"),
    "extra output": (add_output, "has an output 'copy' that no graph of its form has"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_graph_is_refused_in_one_line(edit: str) -> None:
    onnx = pytest.importorskip("onnx", reason="onnx edits this test's graphs")
    change, message = EDITS[edit]
    model = onnx.load_from_string(read_graph(GOLDEN, BIRDS_GRAPH))
    change(model)
    engine = open_engine(model.SerializeToString(), "g", ON_CPU)
    assert message in complaint(engine, merged_facts(MANIFEST, BIRDS))


def test_labels_that_both_sides_agree_on_must_still_be_as_many_as_the_logits() -> None:
    onnx = pytest.importorskip("onnx", reason="onnx edits this test's graphs")
    labels = tuple(f"label {place}" for place in range(30))
    model = onnx.load_from_string(read_graph(GOLDEN, BIRDS_GRAPH))
    edit_facts(model, lambda facts: facts["task"].update(labels=labels))
    engine = open_engine(model.SerializeToString(), "g", ON_CPU)
    facts = merged_facts(MANIFEST, replace(BIRDS, task=replace(BIRDS.task, labels=labels)))
    assert "output 'logits' has shape ['N', 3], expected ['B', 30]" in complaint(engine, facts)


def test_a_shared_graph_for_other_tensors_is_refused() -> None:
    engine = open_engine(read_graph(GOLDEN, SHARED_GRAPH), "g", ON_CPU)
    facts = replace(shared_facts(MANIFEST), slots=(0, 1))
    engine.metadata = graph_facts.to_metadata(facts)
    extra = next(name for name in bank.bank_names((2,)) if name.startswith("blocks"))
    assert f"has an input '{extra}' that no graph of its form has" in complaint(engine, facts)
