"""engines.self_contained: external data is refused wherever a tensor can hide, and nothing else is."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.engines import self_contained
from adaptertune_deploy.engines.ort import open_ort
from adaptertune_deploy.engines.self_contained import check_self_contained
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
)

# place -> field numbers from the model down to the tensor
PLACES = {
    "initializer": (7, 5),
    "sparse initializer, values": (7, 15, 1),
    "sparse initializer, indices": (7, 15, 2),
    "attribute, one tensor": (7, 1, 5, 5),
    "attribute, many tensors": (7, 1, 5, 10),
    "attribute, sparse tensor": (7, 1, 5, 22, 1),
    "attribute, many sparse tensors": (7, 1, 5, 23, 2),
    "subgraph": (7, 1, 5, 6, 5),
    "one of many subgraphs": (7, 1, 5, 11, 1, 5, 5),
    "function": (25, 7, 5, 5),
    "default of a function's attribute": (25, 11, 5),
    "training graph": (20, 1, 5),
    "second training graph": (20, 2, 5),
}


def nest(path: tuple[int, ...], tensor: bytes) -> bytes:
    for number in reversed(path):
        tensor = field(number, tensor)
    return tensor


def write(folder: Path, data: bytes) -> Path:
    path = folder / "graph.onnx"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("location", ["weights.bin", "../weights.bin", "/etc/passwd"])
def test_external_data_is_refused_wherever_it_hides(tmp_path: Path, place: str, location: str) -> None:
    path = write(tmp_path, lookup() + nest(PLACES[place], external_tensor(location)))
    with pytest.raises(EngineError, match="keeps tensors in other files"):
        check_self_contained(path)


@pytest.mark.parametrize("place", PLACES)
def test_a_tensor_inside_the_file_is_accepted_in_the_same_places(tmp_path: Path, place: str) -> None:
    inside = field(1, 1) + field(2, FLOAT) + field(8, "w") + field(9, np.float32(13).tobytes()) + field(14, 0)
    check_self_contained(write(tmp_path, lookup() + nest(PLACES[place], inside)))


@pytest.mark.parametrize("part", ["location", "entries"])
def test_either_mark_of_external_data_is_enough(tmp_path: Path, part: str) -> None:
    mark = field(14, 1) if part == "location" else field(13, field(1, "location") + field(2, "weights.bin"))
    with pytest.raises(EngineError, match="keeps tensors in other files"):
        check_self_contained(write(tmp_path, model(b"") + nest((7, 5), field(8, "w") + mark)))


def test_a_hard_link_which_onnx_runtime_may_follow_never_reaches_it(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    secret = tmp_path / "elsewhere" / "secret.bin"
    secret.write_bytes(np.arange(6, dtype=np.float32).tobytes())
    os.link(secret, tmp_path / "weights.bin")
    linked = field(5, external_tensor("weights.bin"))
    path = write(tmp_path, model(graph(GATHER, inputs=(INDEX,), outputs=(ROWS,), rest=linked)))
    with pytest.raises(EngineError, match="keeps tensors in other files"):
        open_ort(path, "cpu", 1)


@pytest.mark.parametrize(
    "data", [b"", b"garbage", b"\x0b", b"\x08", b"\x3a\x05ab", b"\x39\x00", b"\xff" * 12], ids=repr
)
def test_what_is_no_protobuf_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(EngineError, match="not an ONNX file, or a damaged one"):
        check_self_contained(write(tmp_path, data))


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.onnx", tmp_path):
        with pytest.raises(EngineError, match="no such graph file"):
            check_self_contained(path)


@given(data=st.binary(max_size=200), cut=st.integers(0, 200))
def test_damaged_files_only_ever_raise_engine_errors(tmp_path_factory: Any, data: bytes, cut: int) -> None:
    whole = model(graph(GATHER, inputs=(TABLE, INDEX), outputs=(ROWS,)))
    path = write(tmp_path_factory.mktemp("fuzz"), whole[:cut] + data)
    with contextlib.suppress(EngineError):
        check_self_contained(path)


def test_the_table_of_fields_is_complete() -> None:
    """Against onnx's own descriptors: every field through which a TensorProto can be reached, and no other."""
    onnx = pytest.importorskip("onnx")
    leads: dict[str, bool] = {}

    def leads_to_tensor(message: Any) -> bool:
        if message.name == "TensorProto":
            return True
        if message.name not in leads:
            leads[message.name] = False
            kinds = [entry.message_type for entry in message.fields if entry.message_type]
            leads[message.name] = any([leads_to_tensor(kind) for kind in kinds])
        return leads[message.name]

    expected: dict[str, dict[int, str]] = {}
    pending = [onnx.ModelProto.DESCRIPTOR]
    while pending:
        message = pending.pop()
        if message.name in expected or message.name == "TensorProto":
            continue
        children = [entry for entry in message.fields if entry.message_type and leads_to_tensor(entry.message_type)]
        expected[message.name] = {entry.number: entry.message_type.name for entry in children}
        pending += [entry.message_type for entry in children]
    assert expected == self_contained.FIELDS
    tensor = onnx.TensorProto.DESCRIPTOR.fields_by_name
    assert tensor["external_data"].number == self_contained.EXTERNAL_DATA
    assert tensor["data_location"].number == self_contained.DATA_LOCATION
