"""engines.onnx.nodes against the onnx package: what it reads, and what it leaves alone when nodes are replaced."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.engines.onnx import nodes as onnx_nodes
from adaptertune_deploy.engines.onnx.nodes import FLOAT, INT64, Changes, WireNode, WireTensor
from tests.engines.onnx_files import INDEX, TABLE, field, lookup, value_info

onnx = pytest.importorskip("onnx")
helper = pytest.importorskip("onnx.helper")


def make_model() -> Any:
    """Return x [2, 3] -> Transpose -> Split -> (a, b), with an initialiser of each sort."""
    tensors = [
        onnx.numpy_helper.from_array(np.array([1, -2], np.int64), "ints"),
        onnx.numpy_helper.from_array(np.float32(0.5), "scalar"),
        onnx.numpy_helper.from_array(np.ones((40, 3), np.float32), "large"),
        onnx.numpy_helper.from_array(np.ones(2, np.float64), "double"),
    ]
    nodes = [
        helper.make_node("Transpose", ["x"], ["y"], name="turn", perm=[1, 0]),
        helper.make_node("Split", ["y", "ints"], ["a", "b"], name="part", axis=-1, domain="ai.onnx"),
        helper.make_node("Other", ["a"], ["c"], domain="else.where", text="word", ratio=0.25, many=[1.0, 2.0]),
    ]
    x, a, b = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [2, 3]) for name in "xab")
    graph = helper.make_graph(nodes, "g", [x], [a, b], tensors)
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("else.where", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    model.metadata_props.add(key="about", value="test")
    return model


def test_everything_is_read_as_the_onnx_package_wrote_it() -> None:
    graph = onnx_nodes.read(make_model().SerializeToString())
    assert list(graph.nodes) == [
        WireNode("Transpose", ("x",), ("y",), "", "turn", {"perm": (1, 0)}),
        WireNode("Split", ("y", "ints"), ("a", "b"), "", "part", {"axis": -1}),
        WireNode("Other", ("a",), ("c",), "else.where", "", {"text": "word", "ratio": 0.25, "many": None}),
    ]
    assert (graph.opset, graph.domains) == (20, {"", "else.where"})
    assert (graph.inputs, graph.outputs) == ({"x"}, {"a", "b"})
    assert graph.tensors == {
        "ints": WireTensor(INT64, (2,), (1, -2)),
        "scalar": WireTensor(FLOAT, (), (0.5,)),
        "large": WireTensor(FLOAT, (40, 3), None),
        "double": WireTensor(onnx.TensorProto.DOUBLE, (2,), None),
    }


def test_lists_may_be_packed() -> None:
    """Protobuf readers take both, whichever a schema prefers."""
    packed = field(1, "perm") + field(8, bytes([1, 0])) + field(20, 7)
    node = field(1, "x") + field(2, "y") + field(4, "Transpose") + field(5, packed)
    tensor = field(1, bytes([2])) + field(2, 7) + field(8, "t") + field(9, np.array([5, 6]).tobytes())
    graph = onnx_nodes.read(field(8, field(2, 20)) + field(7, field(1, node) + field(5, tensor)))
    assert graph.nodes[0].attributes == {"perm": (1, 0)}
    assert graph.tensors == {"t": WireTensor(INT64, (2,), (5, 6))}


def test_replacing_nodes_changes_nothing_else() -> None:
    model = make_model()
    graph = onnx_nodes.read(model.SerializeToString())
    new = [
        WireNode("First", ("y",), ("z",), "some.where", "first", {"count": 3, "perm": (1, 0), "scale": 0.125}),
        WireNode("Second", ("z", "sizes"), ("a", "b"), name="second"),
    ]
    data = onnx_nodes.replace(graph, Changes({1: new, 2: []}, {"sizes": (-1, 4)}, "some.where"))
    changed = onnx.load_from_string(data)
    expected = make_model()
    del expected.graph.node[1:]
    expected.graph.node.add().CopyFrom(
        helper.make_node("First", ["y"], ["z"], name="first", domain="some.where", count=3, scale=0.125, perm=[1, 0])
    )
    expected.graph.node.add().CopyFrom(helper.make_node("Second", ["z", "sizes"], ["a", "b"], name="second", domain=""))
    expected.graph.initializer.add().CopyFrom(onnx.numpy_helper.from_array(np.array([-1, 4]), "sizes"))
    expected.opset_import.add(domain="some.where", version=1)
    assert changed == expected


def test_replacing_nothing_adds_only_the_import() -> None:
    graph = onnx_nodes.read(lookup())
    assert onnx_nodes.replace(graph, Changes({}, {}, "d")) == lookup() + field(8, field(1, "d") + field(2, 1))


def test_text_can_not_be_written_as_an_attribute() -> None:
    graph = onnx_nodes.read(lookup())
    with pytest.raises(TypeError, match="attribute mode is str, expected int, float or tuple"):
        onnx_nodes.replace(graph, Changes({0: [WireNode("T", (), (), attributes={"mode": "x"})]}))


@pytest.mark.parametrize("data", [b"", field(1, 10), lookup() + field(7, b"")], ids=["empty", "none", "two"])
def test_a_file_without_exactly_one_graph_is_an_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="graphs"):
        onnx_nodes.read(data)


@given(data=st.binary(max_size=200), cut=st.integers(0, 200))
def test_damaged_files_only_ever_raise_value_errors(data: bytes, cut: int) -> None:
    with contextlib.suppress(ValueError):
        onnx_nodes.read(lookup()[:cut] + data)


def test_inputs_are_dropped_and_added_and_a_scalar_is_one() -> None:
    graph = onnx_nodes.read(lookup())
    other = value_info("other", FLOAT, ("T", 3))
    nodes = {0: [WireNode("Gather", ("other", "at"), ("row",)), WireNode("Gather", ("other", "index"), ("rows",))]}
    data = onnx_nodes.replace(graph, Changes(nodes, {"at": 2}, None, frozenset({"table"}), [other]))
    found = onnx.load_from_string(data)
    assert [entry.SerializeToString() for entry in found.graph.input] == [INDEX, other]
    assert TABLE not in data
    assert onnx.numpy_helper.to_array(found.graph.initializer[0]).shape == ()
    assert onnx.numpy_helper.to_array(found.graph.initializer[0]) == 2
    assert len(found.opset_import) == 1
    onnx.checker.check_model(found, full_check=True)


def test_nothing_changed_gives_the_same_bytes() -> None:
    assert onnx_nodes.replace(onnx_nodes.read(lookup()), Changes({})) == lookup()
