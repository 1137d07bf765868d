"""Edits of a bundle's graphs and manifest, hashes made to fit again, as whoever makes bundles by hand could do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Document = dict[str, Any]
KEY = "adaptertune"


def edit_json(path: Path, change: Callable[[Document], object]) -> None:
    """Change a JSON file."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document, indent=2))


def manifest(folder: Path) -> Document:
    """Return a bundle's manifest as plain JSON."""
    document: Document = json.loads((folder / "bundle" / "manifest.json").read_text())
    return document


def record_of(document: Document, task: str) -> Document:
    """Return the record of a task in a manifest."""
    (found,) = (record for record in document["tasks"] if record["task"]["name"] == task)
    return dict(found) if not isinstance(found, dict) else found


def graph_record(document: Document, task: str | None) -> Document:
    """Return the record of a task's merged graph in a manifest, or of the shared one for None."""
    (found,) = (graph for graph in document["graphs"] if graph["task"] == task)
    return found  # type: ignore[no-any-return]


def graph_of(folder: Path, task: str | None) -> onnx.ModelProto:
    """Return a task's merged graph, or the shared one for None."""
    document = manifest(folder)
    return onnx.load(folder / "bundle" / graph_record(document, task)["file"])


def put_graph(folder: Path, task: str | None, model: onnx.ModelProto) -> None:
    """Write a graph in place of a task's merged one, or of the shared one for None; the manifest vouches for it."""
    data = model.SerializeToString()
    digest = hashlib.sha256(data).hexdigest()
    name = f"backbone-fp32-{digest[:8]}.onnx" if task is None else f"merged/{task}-fp32-{digest[:8]}.onnx"
    (folder / "bundle" / name).write_bytes(data)

    def change(document: Document) -> None:
        graph_record(document, task).update(file=name, sha256=digest, bytes=len(data))

    edit_json(folder / "bundle" / "manifest.json", change)


def edited(task: str | None, change: Callable[[onnx.ModelProto], object]) -> Callable[[Path], None]:
    """Return a preparation that changes one graph of the bundle."""

    def prepare(folder: Path) -> None:
        model = graph_of(folder, task)
        change(model)
        put_graph(folder, task, model)

    return prepare


def in_manifest(change: Callable[[Document], object]) -> Callable[[Path], None]:
    """Return a preparation that changes the manifest."""
    return lambda folder: edit_json(folder / "bundle" / "manifest.json", change)


def in_config(task: str, change: Callable[[Document], object]) -> Callable[[Path], None]:
    """Return a preparation that changes a task's adapter_config.json."""
    return lambda folder: edit_json(folder / "adapters" / task / "adapter_config.json", change)


def swap_merged(folder: Path) -> None:
    """Let the manifest name each of two tasks' merged graphs for the other one."""
    birds, cars = graph_of(folder, "birds"), graph_of(folder, "cars")
    put_graph(folder, "birds", cars)
    put_graph(folder, "cars", birds)


def say(**facts: Any) -> Callable[[onnx.ModelProto], None]:
    """Return a change of what a graph says about itself: top-level fields by name."""

    def change(model: onnx.ModelProto) -> None:
        (entry,) = (entry for entry in model.metadata_props if entry.key == KEY)
        entry.value = json.dumps(json.loads(entry.value) | facts)

    return change


def say_nothing(model: onnx.ModelProto) -> None:
    """Remove a graph's metadata."""
    del model.metadata_props[:]


def facts_of(folder: Path, task: str | None) -> Document:
    """Return what a graph says about itself."""
    (entry,) = (entry for entry in graph_of(folder, task).metadata_props if entry.key == KEY)
    facts: Document = json.loads(entry.value)
    return facts


def _replace_output(model: onnx.ModelProto, name: str = "logits") -> None:
    """Rename what the graph computes to "raw", so that new nodes can make the output from it."""
    for node in model.graph.node:
        node.input[:] = ["raw" if entry == name else entry for entry in node.input]
        node.output[:] = ["raw" if entry == name else entry for entry in node.output]


def _constant(model: onnx.ModelProto, name: str, value: Any) -> str:
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name


def rename_output(model: onnx.ModelProto) -> None:
    """Call the output "scores"."""
    _replace_output(model, model.graph.output[0].name)
    model.graph.node.append(helper.make_node("Identity", ["raw"], ["scores"]))
    model.graph.output[0].name = "scores"


def cut(axis: int, count: int) -> Callable[[onnx.ModelProto], None]:
    """Return a change that keeps the first `count` rows (axis 0) or logits (axis 1)."""

    def change(model: onnx.ModelProto) -> None:
        _replace_output(model)
        bounds = [_constant(model, f"cut_{key}", [value]) for key, value in (("from", 0), ("to", count), ("on", axis))]
        model.graph.node.append(helper.make_node("Slice", ["raw", *bounds], ["logits"]))
        model.graph.output[0].type.tensor_type.shape.dim[axis].Clear()
        model.graph.output[0].type.tensor_type.shape.dim[axis].dim_value = count

    return change


def cut_rows_secretly(model: onnx.ModelProto) -> None:
    """Answer one row for every batch and declare as many rows as asked."""
    declared = model.graph.output[0].type.tensor_type.shape.dim[0].dim_param
    cut(0, 1)(model)
    model.graph.output[0].type.tensor_type.shape.dim[0].dim_param = declared


def add_loop(model: onnx.ModelProto) -> None:
    """Let the answer wait for a loop of 2^62 rounds."""
    flag, number = TensorProto.BOOL, TensorProto.FLOAT
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going"], ["goes_on"]),
            helper.make_node("Add", ["value", "value"], ["doubled"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("going", flag, []),
            helper.make_tensor_value_info("value", number, []),
        ],
        [
            helper.make_tensor_value_info("goes_on", flag, []),
            helper.make_tensor_value_info("doubled", number, []),
        ],
    )
    _replace_output(model)
    rounds = _constant(model, "rounds", np.int64(1 << 62))
    going = _constant(model, "always", np.bool_(True))
    zero = _constant(model, "zero", np.float32(0))
    model.graph.node.append(helper.make_node("Loop", [rounds, going, zero], ["looped"], body=body))
    model.graph.node.append(helper.make_node("Add", ["raw", "looped"], ["logits"]))


def add_foreign_operator(model: onnx.ModelProto) -> None:
    """Compute the answer with an operator that only ONNX Runtime knows."""
    _replace_output(model)
    model.graph.node.append(helper.make_node("QuickGelu", ["raw"], ["logits"], domain="com.microsoft"))
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def add_huge_constant(model: onnx.ModelProto) -> None:
    """Make the answer depend on a tensor of 2^40 numbers."""
    _replace_output(model)
    size = _constant(model, "huge_shape", np.array([1 << 40], np.int64))
    model.graph.node.append(helper.make_node("ConstantOfShape", [size], ["huge"]))
    model.graph.node.append(helper.make_node("ReduceMax", ["huge"], ["largest"], keepdims=0))
    model.graph.node.append(helper.make_node("Add", ["raw", "largest"], ["logits"]))
