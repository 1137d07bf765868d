"""The messages, compared with protoc's and with those that NVIDIA's client brings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2

from adaptertune_deploy.serve.grpc import messages

HERE = Path(messages.__file__).parent
FILES = descriptor_pb2.FileDescriptorSet.FromString(messages.descriptors()).file
NAMES = [message.name for file in FILES if file.package == "inference" for message in file.message_type]


def test_what_is_read_is_what_protoc_makes_of_the_files(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")
    made = tmp_path / messages.FILE
    words = ["-I", str(HERE / "proto"), f"--descriptor_set_out={made}", "inference.proto", "health.proto"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *words], check=True)
    assert made.read_bytes() == messages.descriptors()


def described(field: Any) -> tuple[Any, ...]:
    """Return all of a field that decides its bytes."""
    kind = field.message_type or field.enum_type
    oneof = field.containing_oneof
    packed = field.GetOptions().packed
    return field.number, field.type, field.is_repeated, kind and kind.full_name, oneof and oneof.name, packed


def compare(ours: Any, theirs: Any) -> None:
    """Assert that each field, message and enum value of ours is one of theirs."""
    for field in ours.fields:
        assert described(field) == described(theirs.fields_by_name[field.name]), field.full_name
    for nested in ours.nested_types:
        compare(nested, theirs.nested_types_by_name[nested.name])
    for enum in ours.enum_types:
        compare_enum(enum, theirs.enum_types_by_name[enum.name])


def compare_enum(ours: Any, theirs: Any) -> None:
    for value in ours.values:
        assert value.number == theirs.values_by_name[value.name].number


@pytest.mark.parametrize("name", NAMES)
def test_a_message_is_that_of_the_protocol(name: str) -> None:
    service = pytest.importorskip("tritonclient.grpc.service_pb2", reason="tritonclient is not installed")
    config = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    theirs = {**service.DESCRIPTOR.message_types_by_name, **config.DESCRIPTOR.message_types_by_name}
    compare(messages.message(name).DESCRIPTOR, theirs[name])
    if name == "ModelInput":
        compare_enum(
            messages.message(name).DESCRIPTOR.fields_by_name["data_type"].enum_type, config.DataType.DESCRIPTOR
        )


def test_health_is_grpcs_own() -> None:
    request = messages.message("HealthCheckRequest", "grpc.health.v1")
    response = messages.message("HealthCheckResponse", "grpc.health.v1")
    assert request(service="a").SerializeToString() == b"\x0a\x01a"
    assert response(status=response.SERVING).SerializeToString() == b"\x08\x01"
    assert response(status=response.NOT_SERVING).SerializeToString() == b"\x08\x02"
