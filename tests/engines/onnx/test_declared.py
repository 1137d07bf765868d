"""engines.onnx.declared against the onnx package: names, types and sizes, however a file writes them."""

from __future__ import annotations

import numpy as np
import pytest

from adaptertune_deploy.engines.onnx import declared
from adaptertune_deploy.engines.onnx.declared import DeclaredTensor, DeclaredValue
from tests.engines.onnx_files import FLOAT, INT64, field, value_info, varint


def test_a_tensor_is_read_as_onnx_wrote_it() -> None:
    onnx = pytest.importorskip("onnx")
    array = np.arange(6, dtype=np.float16).reshape(2, 3)
    data = onnx.numpy_helper.from_array(array, "weight").SerializeToString()
    found = declared.tensor(data, 0, len(data))
    assert (found.name, found.kind, found.dims) == ("weight", onnx.TensorProto.FLOAT16, (2, 3))
    assert found.raw is not None
    assert data[slice(*found.raw)] == array.tobytes()


def test_a_value_is_read_as_onnx_wrote_it() -> None:
    onnx = pytest.importorskip("onnx")
    made = onnx.helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["N", 3, None])
    data = made.SerializeToString()
    assert declared.value(data, 0, len(data)) == DeclaredValue("images", FLOAT, ("N", 3, "?"))


def test_sizes_may_be_packed_and_numbers_may_lie_elsewhere() -> None:
    packed = field(1, varint(2) + varint(300)) + field(2, INT64) + field(8, "x")
    assert declared.tensor(packed, 0, len(packed)) == DeclaredTensor("x", INT64, (2, 300), None)


def test_a_message_among_others_is_read_within_its_bounds() -> None:
    before, own = value_info("before", INT64, (1,)), value_info("own", FLOAT, ("B", 7))
    data = before + own + before
    found = declared.value(data, len(before), len(before) + len(own))
    assert found == DeclaredValue("own", FLOAT, ("B", 7))


def test_a_type_that_is_given_twice_is_merged() -> None:
    """As protobuf's readers do, so that no engine sees another shape than the one that was checked."""
    onnx = pytest.importorskip("onnx")
    data = value_info("x", FLOAT, (2,)) + value_info("x", INT64, ("N",))
    read = onnx.ValueInfoProto.FromString(data).type.tensor_type
    found = declared.value(data, 0, len(data))
    assert found.kind == read.elem_type == INT64
    assert list(found.shape) == [dim.dim_param or dim.dim_value for dim in read.shape.dim] == [2, "N"]


def test_what_is_no_tensor_has_no_kind() -> None:
    sequence = field(1, "x") + field(2, field(4, field(1, field(1, FLOAT))))
    assert declared.value(sequence, 0, len(sequence)) == DeclaredValue("x", 0, ())


@pytest.mark.parametrize("read", [declared.tensor, declared.value])
def test_a_name_that_is_no_text_is_refused(read: object) -> None:
    data = field(8 if read is declared.tensor else 1, b"\xff\xfe")
    with pytest.raises(ValueError, match="utf-8"):
        read(data, 0, len(data))  # type: ignore[operator]
