"""export.onnx_file: read and written as the onnx package does, without copies."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from adaptertune_deploy.core.errors import ExportError
from adaptertune_deploy.export import onnx_file
from adaptertune_deploy.export.onnx_file import OnnxFile

BODY = '<ir_version: 10, opset_import: ["": 20]> agraph (float[N, 200] x) => (float[N, 3] y) { y = Gemm(x, w, b) }'
# The weight is longer than what one byte of length can say, and read in the other order than it lies in memory.
W = np.random.default_rng(0).normal(size=(3, 200)).astype(np.float32).T
B = np.arange(3, dtype=np.float32)
SCALAR = np.array(2)


def made() -> onnx.ModelProto:
    """Return the model as the onnx package builds it."""
    model = onnx.parser.parse_model(BODY)
    for name, value in (("w", W), ("b", B), ("s", SCALAR)):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    model.metadata_props.add(key="k", value="v" * 300)
    return model


def test_what_is_written_is_what_the_onnx_package_reads() -> None:
    bare = made()
    del bare.graph.initializer[:]
    data = onnx_file.write(OnnxFile(bare, {"w": W, "b": B, "s": SCALAR}), "a net")
    assert onnx.load_from_string(data) == made()


def test_what_the_onnx_package_writes_is_read() -> None:
    data = made().SerializeToString()
    file = onnx_file.read(data, "a file")
    assert list(file.tensors) == ["w", "b", "s"]
    assert not file.model.graph.initializer
    assert [node.op_type for node in file.model.graph.node] == ["Gemm"]
    for name, tensor in file.tensors.items():
        assert isinstance(tensor, memoryview)
        assert tensor.obj is data  # a view, not a copy
        assert onnx.TensorProto.FromString(bytes(tensor)).name == name
    again = onnx_file.write(file, "a net")
    assert onnx.load_from_string(again) == made()
    assert onnx_file.write(onnx_file.read(again, "a file"), "a net") == again


def test_a_graph_in_two_parts_is_one() -> None:
    """Protobuf merges a message that comes twice."""
    first, second = made(), onnx.ModelProto()
    second.graph.initializer.extend(first.graph.initializer[1:])
    del first.graph.initializer[1:]
    file = onnx_file.read(first.SerializeToString() + second.SerializeToString(), "a file")
    assert onnx.load_from_string(onnx_file.write(file, "a net")) == made()


@pytest.mark.parametrize(
    "data", [b"\x3a\xff\x01", b"\x07\x00", b"\x3a\x02\x2a\x00", b"\x08\x80", made().SerializeToString()[:-9]]
)
def test_anything_else_is_one_line(data: bytes) -> None:
    with pytest.raises(ExportError, match=r"^a file: not an ONNX file, or a damaged one \(.*\); run atd export again$"):
        onnx_file.read(data, "a file")


def test_too_large_a_file_is_refused_by_what_it_would_take(monkeypatch: pytest.MonkeyPatch) -> None:
    file = onnx_file.read(made().SerializeToString(), "a file")
    size = len(onnx_file.write(file, "a net"))
    monkeypatch.setattr(onnx_file, "MAX_BYTES", size)
    onnx_file.write(file, "a net")
    monkeypatch.setattr(onnx_file, "MAX_BYTES", size - 1000)
    with pytest.raises(ExportError, match=r"^the graph of a net takes 0\.0 GiB, one ONNX file at most 2; take a small"):
        onnx_file.write(file, "a net")
