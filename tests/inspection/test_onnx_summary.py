"""The summary of a file, against what the onnx package reads of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from adaptertune_deploy.inspection.onnx_summary import DTYPES, Value, Weights, summarise
from tests.engines.onnx_files import lookup

GOLDEN = Path(__file__).parents[1] / "device" / "golden" / "bundle"
GRAPHS = sorted(GOLDEN.rglob("*.onnx"))


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.name)
def test_a_graph_is_read_as_onnx_reads_it(path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    model = onnx.load(path)
    found = summarise(path.read_bytes())
    assert found.ir_version == model.ir_version
    assert found.opsets == {entry.domain: entry.version for entry in model.opset_import}
    assert found.operators == Counter(node.op_type for node in model.graph.node)
    assert found.metadata == {entry.key: entry.value for entry in model.metadata_props}
    arrays = [(tensor.name, onnx.numpy_helper.to_array(tensor)) for tensor in model.graph.initializer]
    assert sum(entry.tensors for entry in found.weights) == len(arrays)
    assert sum(entry.bytes for entry in found.weights) == sum(array.nbytes for _, array in arrays)
    assert sum(entry.numbers for entry in found.weights) == sum(array.size for _, array in arrays)
    block = [array for name, array in arrays if name.startswith("blocks.1.") and ".adapter." not in name]
    (held,) = [entry for entry in found.weights if entry.part == "blocks.1"]
    assert held == Weights("blocks.1", "float32", len(block), sum(a.size for a in block), sum(a.nbytes for a in block))
    for values, entries in ((found.inputs, model.graph.input), (found.outputs, model.graph.output)):
        assert values == {
            entry.name: Value(
                onnx.helper.tensor_dtype_to_np_dtype(entry.type.tensor_type.elem_type).name,
                tuple(dim.dim_param or dim.dim_value for dim in entry.type.tensor_type.shape.dim),
            )
            for entry in entries
        }


def test_dtypes_have_their_names_and_sizes() -> None:
    onnx = pytest.importorskip("onnx")
    for number, (name, bits) in DTYPES.items():
        known = onnx.helper.tensor_dtype_to_string(number).removeprefix("TensorProto.").lower()
        assert name in (known, {"float": "float32", "double": "float64"}.get(known))
        packed = onnx.helper.make_tensor("x", number, [4], [0] * 4)
        raw = onnx.numpy_helper.to_array(packed)
        assert bits == (4 if name in ("uint4", "int4", "float4e2m1") else raw.itemsize * 8), name


def test_parts_of_a_network() -> None:
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT16
    names = ["blocks.3.attn.qkv.weight", "blocks.3.adapter.up.bias", "patch_embed.proj.weight", "val_13", "cls_token"]
    tensors = [helper.make_tensor(name, kind, [2, 3], [0] * 6) for name in names]
    graph = helper.make_graph([helper.make_node("Y", [], ["y"], domain="com.x")], "g", [], [], tensors)
    found = summarise(helper.make_model(graph).SerializeToString())
    expected = ["cls_token", "patch_embed", "blocks.3", "blocks.3.adapter", "constants"]
    assert [entry.part for entry in found.weights] == expected
    assert {(entry.dtype, entry.bytes) for entry in found.weights} == {("float16", 12)}
    assert found.operators == {"com.x.Y": 1}


def test_no_onnx_file() -> None:
    assert summarise(lookup()).operators == {"Gather": 1}
    for data in (b"", b"\xff" * 20, lookup() + lookup()):
        with pytest.raises(ValueError, match=r"graphs|ten bytes"):
            summarise(data)
