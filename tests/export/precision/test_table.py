"""export.precision.table: in every precision both forms answer as torch does, each within what its digits allow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from adaptertune_deploy.core.adapter import bank, heads
from adaptertune_deploy.core.adapter.folder import Adapter
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.errors import EngineError, ExportError
from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.opening import open_engine
from adaptertune_deploy.engines.options import ON_CPU, EngineOptions
from adaptertune_deploy.export import onnx_file
from adaptertune_deploy.export.onnx_file import array
from adaptertune_deploy.export.precision import fp16, table
from adaptertune_deploy.export.precision.ranges import NONE
from adaptertune_deploy.export.precision.table import WAYS, graph_in, is_calibrated
from adaptertune_deploy.model.backbone import Backbone
from tests.export.conftest import SLOTS, WIDTH, merged_of
from tests.export.precision.conftest import InPrecision

# The largest difference of logits up to 3.4; measured: a half to a quarter of these.
LARGEST = {Precision.FP16: 4e-3, Precision.BF16: 0.05, Precision.INT8: 0.07, Precision.INT8_QDQ: 0.15}
EACH = pytest.mark.parametrize("precision", WAYS, ids=str)


def run(data: bytes, feeds: dict[str, Any]) -> Array:
    """Return a graph's one output; bfloat16 by the onnx package's own evaluator, since ONNX Runtime has none here."""
    model = onnx.load_from_string(data)
    precision = graph_facts.precision_of({entry.key: entry.value for entry in model.metadata_props}, "graph")
    if precision is Precision.BF16:
        found: list[Array] = ReferenceEvaluator(model).run(None, feeds)
        return found[0]
    engine = open_engine(data, "graph", replace(ON_CPU, precision=precision))
    typed = {name: value.astype(engine.inputs[name].dtype) for name, value in feeds.items()}
    (result,) = engine.run(typed).values()
    return result


def shared_rows(data: bytes, held: Sequence[Adapter], images: Array) -> list[Array]:
    """Return each task's logits for images, all asked in one mixed run."""
    count, tasks = len(images), len(held)
    stacked = bank.stack([bank.folded_blocks(adapter) for adapter in held], SLOTS, WIDTH)
    task = np.arange(count * tasks) % tasks
    feeds = {bank.IMAGES: images, bank.IMAGE: np.arange(count).repeat(tasks), bank.TASK: task, **stacked}
    rows = heads.apply([heads.head_of(adapter) for adapter in held], run(data, feeds), task)
    return [np.stack(rows[place::tasks]) for place in range(tasks)]


@EACH
def test_the_shared_graph_answers_as_torch_does(
    in_precision: InPrecision, held: Sequence[Adapter], images: Array, expected: list[Array], precision: Precision
) -> None:
    for found, wanted in zip(shared_rows(in_precision(precision), held, images[:8]), expected, strict=True):
        difference = np.abs(found - wanted[:8]).max()
        assert 1e-5 < difference < LARGEST[precision]


@pytest.mark.parametrize("precision", [Precision.INT8_QDQ, Precision.BF16], ids=str)
def test_openvino_runs_the_same_graphs(
    in_precision: InPrecision,
    backbone: Backbone,
    held: Sequence[Adapter],
    images: Array,
    expected: list[Array],
    precision: Precision,
) -> None:
    core = pytest.importorskip("openvino").Core()
    if precision is Precision.BF16 and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU does not multiply bfloat16")
    data = merged_of(in_precision(precision), backbone, held[0])
    engine = open_engine(data, "graph", EngineOptions("openvino", "cpu", precision))
    found = engine.run({bank.IMAGES: images[:4]})[bank.LOGITS]
    engine.close()
    assert engine.precision is precision
    assert 1e-5 < np.abs(found - expected[0][:4]).max() < LARGEST[precision]


def test_an_engine_that_lacks_a_precision_is_refused_in_plain_words(in_precision: InPrecision) -> None:
    options = replace(ON_CPU, precision=Precision.BF16)
    with pytest.raises(
        EngineError, match=r"^graph: ONNX Runtime runs no bf16 graphs on a CPU; choose another --engine"
    ):
        open_engine(in_precision(Precision.BF16), "graph", options)


@pytest.mark.parametrize("precision", [Precision.FP32, Precision.INT8_QDQ], ids=str)
def test_a_row_does_not_know_of_those_beside_it(
    in_precision: InPrecision, held: Sequence[Adapter], images: Array, precision: Precision
) -> None:
    together = shared_rows(in_precision(precision), held, images[:3])
    for place in range(3):
        alone = shared_rows(in_precision(precision), held, images[place : place + 1])
        for task, rows in enumerate(together):
            np.testing.assert_allclose(alone[task][0], rows[place], atol=1e-5)


def test_in_int8_it_does(in_precision: InPrecision, held: Sequence[Adapter], images: Array) -> None:
    """The range is that of a whole run; a loud image beside it takes a quiet one's steps away."""
    data, loud = in_precision(Precision.INT8), images[1:2] * np.float32(20)
    (alone, *_), (beside, *_) = (
        shared_rows(data, held, pictures) for pictures in (images[:1], np.concatenate([images[:1], loud]))
    )
    assert np.abs(alone[0] - beside[0]).max() > 1e-4


@EACH
def test_merged_graphs_answer_as_the_shared_one_does(
    in_precision: InPrecision, backbone: Backbone, held: Sequence[Adapter], images: Array, precision: Precision
) -> None:
    source = in_precision(precision)
    for adapter, rows in zip(held, shared_rows(source, held, images[:4]), strict=True):
        data = merged_of(source, backbone, adapter)
        assert np.abs(run(data, {bank.IMAGES: images[:4]}) - rows).max() < LARGEST[precision] / 4
        onnx.checker.check_model(onnx.load_from_string(data), full_check=True)


@EACH
def test_a_merged_graph_made_of_another_ones_has_the_same_bytes(
    in_precision: InPrecision, backbone: Backbone, held: Sequence[Adapter], precision: Precision
) -> None:
    source = in_precision(precision)
    whole = merged_of(source, backbone, held[0])
    for adapter in held:
        assert merged_of(whole, backbone, adapter) == merged_of(source, backbone, adapter)


@EACH
def test_a_graph_says_its_precision_and_what_it_takes(
    in_precision: InPrecision, backbone: Backbone, held: Sequence[Adapter], precision: Precision
) -> None:
    shared = in_precision(precision)
    for data in (shared, merged_of(shared, backbone, held[1])):
        model = onnx.load_from_string(data)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        assert graph_facts.precision_of(metadata, "graph") is precision
        assert graph_facts.from_metadata(metadata, "graph").backbone == backbone.spec
        kinds = {entry.name: entry.type.tensor_type.elem_type for entry in model.graph.input}
        wanted = TensorProto.FLOAT16 if precision is Precision.FP16 else TensorProto.FLOAT
        assert {kind for name, kind in kinds.items() if "adapter" in name} <= {wanted}
        assert kinds[bank.IMAGES] == model.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT


@EACH
def test_the_same_bytes_every_time(in_precision: InPrecision, precision: Precision) -> None:
    assert in_precision(precision) == in_precision(precision)


def test_a_float32_island_in_an_adapter_can_be_merged(
    shared_graph: bytes, backbone: Backbone, held: Sequence[Adapter], images: Array, expected: list[Array]
) -> None:
    """Casts in and around an adapter's branch: it is found, filled and left out all the same."""
    file = onnx_file.read(shared_graph, "graph")
    inner = [node.output[0] for node in file.model.graph.node if node.output[0].startswith("blocks.0.adapter.")]
    for large in inner:
        data = graph_in(shared_graph, Precision.FP16, replace(NONE, largest={large: 2 * fp16.LIMIT}), "a backbone")
        for adapter, wanted in zip(held, expected, strict=True):
            merged = merged_of(data, backbone, adapter)
            assert np.abs(run(merged, {bank.IMAGES: images[:2]}) - wanted[:2]).max() < LARGEST[Precision.FP16]
            unread = {name for node in onnx.load_from_string(merged).graph.node for name in node.input}
            casts = [node for node in onnx.load_from_string(merged).graph.node if node.op_type == "Cast"]
            assert all({*node.output} & unread for node in casts)


def test_tensors_are_held_in_the_type_that_they_are_read_in(
    in_precision: InPrecision, backbone: Backbone, held: Sequence[Adapter]
) -> None:
    for precision, name in ((Precision.FP16, "float16"), (Precision.BF16, "bfloat16"), (Precision.INT8, "float32")):
        file = onnx_file.read(merged_of(in_precision(precision), backbone, held[0]), "graph")
        found = {array(tensor).dtype.name for key, tensor in file.tensors.items() if ".adapter." in key}
        assert found == {name}
        assert array(file.tensors["head.weight"]).dtype == np.float32


def test_fp32_is_the_traced_graph_itself(shared_graph: bytes) -> None:
    assert graph_in(shared_graph, Precision.FP32, NONE, "a backbone") is shared_graph


def test_which_precisions_need_images() -> None:
    assert [precision for precision in Precision if is_calibrated(precision)] == [Precision.FP16, Precision.INT8_QDQ]
    assert set(WAYS) | {Precision.FP32} == set(Precision)


def test_a_graph_that_is_no_valid_onnx_is_refused_in_one_line(
    shared_graph: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(file: onnx_file.OnnxFile, ranges: object) -> onnx_file.OnnxFile:
        file.model.graph.node[0].op_type = "Nonsense"
        return file

    monkeypatch.setattr(fp16, "make", broken)
    with pytest.raises(
        ExportError, match=r"^a backbone can't be written in fp16 \(.*Nonsense.*; choose another --prec"
    ):
        table.graph_in(shared_graph, Precision.FP16, NONE, "a backbone")
