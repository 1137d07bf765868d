from __future__ import annotations

import importlib.util

import numpy as np
import pytest

if importlib.util.find_spec("openvino") is None:
    pytest.skip("OpenVINO is an extra of its own", allow_module_level=True)

from adaptertune_deploy.engines.openvino.library import ov
from adaptertune_deploy.engines.openvino.tensor import tensor_of


def test_a_tensor_shares_the_memory_of_an_array() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = tensor_of(array)
    array[1, 2] = 9
    assert tensor.element_type == ov.Type.f32
    assert tensor.data.tolist() == [[0, 1, 2], [3, 4, 9]]


def test_16_bits_are_bfloat16() -> None:
    tensor = tensor_of(np.full((2, 3), 0x3F80, np.uint16))
    assert (tensor.element_type, tensor.shape) == (ov.Type.bf16, ov.Shape([2, 3]))
    assert tensor.get_byte_size() == 12


def test_what_is_strided_or_read_only_is_copied() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    assert tensor_of(array[:, ::2]).data.tolist() == array[:, ::2].tolist()
    array.flags.writeable = False
    assert tensor_of(array).data.tolist() == array.tolist()
