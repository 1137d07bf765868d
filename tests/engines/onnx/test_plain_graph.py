"""engines.onnx.plain_graph: what our graphs never hold is refused wherever it hides, and nothing else is."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines.onnx import plain_graph
from adaptertune_deploy.engines.onnx.plain_graph import check_plain
from tests.engines.onnx_files import (
    FLOAT,
    GATHER,
    INDEX,
    ROWS,
    TABLE,
    external_tensor,
    field,
    graph,
    lookup,
    model,
    node,
    varint,
)

GOLDEN = Path(__file__).parents[2] / "device" / "golden" / "bundle"
# place -> field numbers from the model down to the tensor
PLACES = {
    "initializer": (7, 5),
    "attribute, one tensor": (7, 1, 5, 5),
    "attribute, many tensors": (7, 1, 5, 10),
}
# place -> what a graph there is called
FORBIDDEN = {
    "sub-graph": ((7, 1, 5, 6), "a sub-graph"),
    "one of many sub-graphs": ((7, 1, 5, 11), "a sub-graph"),
    "function": ((25,), "a function"),
    "training graph": ((20,), "a training graph"),
    "sparse initializer": ((7, 15), "a sparse tensor"),
    "sparse attribute": ((7, 1, 5, 22), "a sparse tensor"),
    "many sparse attributes": ((7, 1, 5, 23), "a sparse tensor"),
}


def nest(path: tuple[int, ...], innermost: bytes) -> bytes:
    for number in reversed(path):
        innermost = field(number, innermost)
    return innermost


def complaint(data: bytes) -> str:
    with pytest.raises(EngineError) as caught:
        check_plain(data, "bundle/g.onnx")
    text = str(caught.value)
    assert text.startswith("bundle/g.onnx: ")
    assert text.isprintable()
    return text


def with_node(entry: bytes) -> bytes:
    return model(graph(GATHER, entry, inputs=(TABLE, INDEX), outputs=(ROWS,)))


@pytest.mark.parametrize("path", sorted(GOLDEN.rglob("*.onnx")), ids=lambda path: path.name.split(".")[0])
def test_graphs_of_this_project_are_accepted(path: Path) -> None:
    check_plain(path.read_bytes(), str(path))


@pytest.mark.case(
    "E3",
    "external data by initializer, attribute, subgraph, function, sparse tensor",
    "refused before any engine sees the file, links or not",
)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/passwd"])
def test_external_data_is_refused_wherever_it_hides(place: str, location: str) -> None:
    text = complaint(lookup() + nest(PLACES[place], external_tensor(location)))
    assert "keeps tensors in other files" in text


@pytest.mark.parametrize("place", PLACES)
def test_a_tensor_inside_the_file_is_accepted_in_the_same_places(place: str) -> None:
    inside = field(1, 1) + field(2, FLOAT) + field(8, "w") + field(9, np.float32(13).tobytes()) + field(14, 0)
    check_plain(lookup() + nest(PLACES[place], inside), "g.onnx")


@pytest.mark.parametrize("mark", [field(14, 1), field(14, (1 << 32) + 1), field(13, field(1, "location"))])
def test_either_mark_of_external_data_is_enough(mark: bytes) -> None:
    assert "keeps tensors in other files" in complaint(model(b"") + nest((7, 5), field(8, "w") + mark))


@pytest.mark.parametrize("kind", ["Loop", "If", "Scan", "SequenceMap", "ConstantOfShape", "RandomNormal", "gather", ""])
def test_an_operator_that_no_graph_of_ours_has_is_refused_by_name(kind: str) -> None:
    text = complaint(with_node(node(kind, ("table",), "more")))
    assert text == (
        f"bundle/g.onnx: holds the operator '{kind}', which none of atd's graphs has; make graphs with: atd export"
    )


@pytest.mark.case("E4", "Loop, If, functions", "refused")
@pytest.mark.parametrize("place", FORBIDDEN)
def test_control_flow_functions_and_sparse_tensors_are_refused(place: str) -> None:
    path, name = FORBIDDEN[place]
    assert f"holds {name}, which none of atd's graphs has" in complaint(lookup() + nest(path, field(1, GATHER)))


@pytest.mark.case("E4", "operators of other domains", "refused")
@pytest.mark.parametrize("domain", ["com.microsoft", "ai.onnx.ml", "AI.ONNX", "\x1b[2J"])
def test_operators_of_other_domains_are_refused(domain: str) -> None:
    text = complaint(with_node(GATHER + field(7, domain)))
    assert f"an operator of the domain {domain!r}" in text


@pytest.mark.parametrize("domain", ["", "ai.onnx"])
def test_the_standard_domain_has_two_names(domain: str) -> None:
    check_plain(with_node(GATHER + field(7, domain)), "g.onnx")


def test_of_a_field_given_twice_both_are_looked_at() -> None:
    """A protobuf reader takes the last of two."""
    for first, last in (("Gather", "Loop"), ("Loop", "Gather")):
        assert "'Loop'" in complaint(with_node(field(4, first) + field(4, last)))
    second = field(7, graph(node("Loop", (), "x"), inputs=(), outputs=()))
    assert "'Loop'" in complaint(lookup() + second)
    assert "'Loop'" in complaint(second + lookup())


@pytest.mark.parametrize("high", [1 << 32, 1 << 33, 1 << 34])
def test_a_key_whose_upper_bits_a_reader_drops_hides_nothing(high: int) -> None:
    entry = node("Loop", (), "x")
    hidden = varint(high + (1 << 3 | 2)) + varint(len(entry)) + entry
    assert "not an ONNX file, or a damaged one" in complaint(lookup() + field(7, hidden))


@pytest.mark.case("E4", "cut and foreign files", "refused")
@pytest.mark.parametrize(
    "data", [b"garbage", b"\x0b", b"\x08", b"\x3a\x05ab", b"\x39\x00", b"\xff" * 12, b"\x00\x00"], ids=repr
)
def test_what_is_no_protobuf_is_refused(data: bytes) -> None:
    assert "not an ONNX file, or a damaged one; run atd export again" in complaint(data)


def test_an_empty_file_is_refused() -> None:
    assert "is empty" in complaint(b"")


@pytest.mark.case("E4", "a file of ever more fields", "given up")
def test_a_file_of_ever_more_fields_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "more than 300000 fields" in complaint(field(1, 10) * 300_001)
    monkeypatch.setattr(plain_graph, "MAX_FIELDS", 100)
    check_plain(field(1, 10) * 100, "g.onnx")
    for data in (field(1, 10) * 101, field(7, field(1, b"") * 100), field(7, field(1, field(5, b"") * 99))):
        assert "more than 100 fields" in complaint(data)


def test_the_largest_graphs_stay_far_below_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The golden graph has 3 blocks; no Vision Transformer of timm has more than 64."""
    monkeypatch.setattr(plain_graph, "MAX_FIELDS", plain_graph.MAX_FIELDS * 3 // 64 // 2)
    for path in GOLDEN.rglob("*.onnx"):
        check_plain(path.read_bytes(), str(path))


@given(data=st.binary(max_size=200), cut=st.integers(0, 200))
def test_damaged_files_only_ever_raise_engine_errors(data: bytes, cut: int) -> None:
    whole = model(graph(GATHER, inputs=(TABLE, INDEX), outputs=(ROWS,)))
    with contextlib.suppress(EngineError):
        check_plain(whole[:cut] + data, "g.onnx")


def test_the_tables_of_fields_are_complete() -> None:
    """Against onnx's own descriptors: every field that leads to a tensor or a node is walked or refused."""
    onnx = pytest.importorskip("onnx")
    goals = ("TensorProto", "NodeProto")

    def leads(message: Any, above: tuple[str, ...] = ()) -> bool:
        if message.name in goals:
            return True
        kinds = [entry.message_type for entry in message.fields if entry.message_type]
        return any(leads(kind, (*above, message.name)) for kind in kinds if kind.name not in above)

    pending, seen = [onnx.ModelProto.DESCRIPTOR], set()
    while pending:
        message = pending.pop()
        if message.name in seen:
            continue
        seen.add(message.name)
        children = {
            entry.number: entry.message_type
            for entry in message.fields
            if entry.message_type and leads(entry.message_type)
        }
        walked, refused = plain_graph.FIELDS[message.name], plain_graph.REFUSED[message.name]
        assert not walked.keys() & refused.keys()
        assert {number: kind.name for number, kind in children.items() if number not in refused} == walked
        assert refused.keys() <= children.keys()
        pending += [kind for number, kind in children.items() if number in walked]
    assert seen == plain_graph.FIELDS.keys() == plain_graph.REFUSED.keys()
    tensor = onnx.TensorProto.DESCRIPTOR.fields_by_name
    assert tensor["external_data"].number == plain_graph.EXTERNAL_DATA
    assert tensor["data_location"].number == plain_graph.DATA_LOCATION
    operator = onnx.NodeProto.DESCRIPTOR.fields_by_name
    assert operator["op_type"].number == plain_graph.OPERATOR
    assert operator["domain"].number == plain_graph.DOMAIN


def test_every_listed_operator_is_one_of_the_standard_without_control_flow() -> None:
    onnx = pytest.importorskip("onnx")
    kinds = onnx.defs.OpSchema.AttrType
    for name in plain_graph.OPERATORS:
        schema = onnx.defs.get_schema(name, max_inclusive_version=21)
        assert not {entry.type for entry in schema.attributes.values()} & {kinds.GRAPH, kinds.GRAPHS}, name
