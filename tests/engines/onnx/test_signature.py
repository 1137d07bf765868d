"""engines.onnx.signature against what ONNX Runtime says of the same file."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.engine import TensorInfo
from adaptertune_deploy.engines.onnx import signature as onnx_signature
from tests.engines.onnx_files import FLOAT, INDEX, ROWS, TABLE, field, graph, lookup, model, node, value_info

ort = pytest.importorskip("onnxruntime")
GOLDEN = sorted((Path(__file__).parents[2] / "device" / "golden" / "bundle").rglob("*.onnx"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.name)
def test_a_graph_takes_and_gives_what_onnx_runtime_says(path: Path) -> None:
    found = onnx_signature.read(path.read_bytes(), "g")
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    types = {"tensor(float)": np.float32, "tensor(int64)": np.int64}
    for held, expected in ((found.inputs, session.get_inputs()), (found.outputs, session.get_outputs())):
        assert [(info.name, info.dtype, list(info.shape)) for info in held.values()] == [
            (entry.name, types[entry.type], entry.shape) for entry in expected
        ]
    assert found.metadata == session.get_modelmeta().custom_metadata_map


def test_dynamic_sizes_have_their_names() -> None:
    found = onnx_signature.read(lookup(), "g")
    assert found.inputs == {
        "table": TensorInfo("table", np.dtype(np.float32), ("T", 3)),
        "index": TensorInfo("index", np.dtype(np.int64), ("B",)),
    }
    assert found.outputs == {"rows": TensorInfo("rows", np.dtype(np.float32), ("B", 3))}
    assert found.metadata == {"about": "lookup"}


def test_what_is_written_is_read_again() -> None:
    for dtype in onnx_signature.DTYPES.values():
        info = TensorInfo("x", dtype, (2, "N", 7))
        data = model(graph(inputs=(onnx_signature.value_info(info),), outputs=()))
        assert onnx_signature.read(data, "g").inputs == {"x": info}


def test_an_input_with_a_value_of_its_own_is_refused() -> None:
    """TensorRT drops such an input and takes its value for good."""
    held = field(5, field(1, 2) + field(1, 3) + field(2, FLOAT) + field(8, "table") + field(9, bytes(24)))
    data = model(graph(node("Gather", ("table", "index"), "rows"), inputs=(TABLE, INDEX), outputs=(ROWS,), rest=held))
    with pytest.raises(EngineError, match=r"^g: input 'table' has a value in the file; run atd export again$"):
        onnx_signature.read(data, "g")


def test_what_numpy_has_no_type_for_is_refused() -> None:
    data = model(graph(inputs=(value_info("x", 16, ("N",)),), outputs=()))
    with pytest.raises(EngineError, match=r"^g: 'x' is no array of float32, uint8, .*; run atd export again$"):
        onnx_signature.read(data, "g")


@given(st.data())
def test_damage_is_found_or_harmless(data: st.DataObject) -> None:
    broken = bytearray(lookup())
    broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(EngineError):
        onnx_signature.read(bytes(broken[: data.draw(st.integers(0, len(broken)))]), "g")
