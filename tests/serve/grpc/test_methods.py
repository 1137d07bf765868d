from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict

from adaptertune_deploy.serve.grpc.messages import message
from adaptertune_deploy.serve.grpc.methods import HEALTH, SERVICE
from tests.serve.grpc.conftest import Called, Launcher, image_request


def plain(found: Any) -> dict[str, Any]:
    document: dict[str, Any] = MessageToDict(found, preserving_proto_field_name=True)
    return document


def within(small: Any, large: Any) -> bool:
    """Return whether a message as JSON says nothing but what a document says; int64 are texts there."""
    if isinstance(small, dict):
        return isinstance(large, dict) and all(within(value, large[name]) for name, value in small.items())
    if isinstance(small, list):
        return all(within(one, other) for one, other in zip(small, large, strict=True))
    return bool(small == large or small == str(large))


def test_health_and_metadata(server: Called) -> None:
    assert server.call("ServerLive").live
    assert server.call("ServerReady").ready
    for name, version, ready in [
        ("pets", "", True),
        ("pets__tensor", "1", True),
        ("pets", "9", False),
        ("no", "", False),
    ]:
        assert server.call("ModelReady", name=name, version=version).ready is ready
    assert plain(server.call("ServerMetadata")) == server.http.get("/v2").json()


@pytest.mark.parametrize("name", ["flowers", "flowers__tensor"])
def test_descriptions_are_those_of_http(server: Called, name: str) -> None:
    metadata = plain(server.call("ModelMetadata", name=name))
    document = server.http.get(f"/v2/models/{name}").json()
    assert within(metadata, document)
    assert {"name", "versions", "platform", "inputs", "outputs"} == set(metadata)
    config = plain(server.call("ModelConfig", name=name, version="1"))["config"]
    assert within(config, server.http.get(f"/v2/models/{name}/config").json())
    assert {"max_batch_size", "input", "output", "dynamic_batching", "instance_group", "parameters"} <= set(config)


def test_statistics_are_those_of_http(launch: Launcher, png: bytes) -> None:
    called = launch()
    called.call("ModelInfer", image_request(png, png))
    (found,) = plain(called.call("ModelStatistics", name="pets__tensor"))["model_stats"]
    (document,) = called.http.get("/v2/models/pets__tensor/stats").json()["model_stats"]
    assert within(found, document)
    assert (found["inference_count"], found["inference_stats"]["success"]["count"]) == ("2", "1")
    assert int(found["inference_stats"]["compute_output"]["ns"]) > 0
    names = [entry.name for entry in called.call("ModelStatistics").model_stats]
    assert names == ["pets", "flowers", "digits"]


@pytest.mark.parametrize("method", ["ModelMetadata", "ModelConfig", "ModelStatistics"])
def test_a_model_that_is_not_there_is_not_found(server: Called, method: str) -> None:
    assert server.failure(method, name="flower") == (
        grpc.StatusCode.NOT_FOUND,
        "Request for unknown model: 'flower' is not found. Did you mean 'flowers'?",
    )
    code, text = server.failure(method, name="pets", version="9")
    assert (code, text) == (grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'pets' version 9 is not found")


def test_settings_are_read_and_not_changed(server: Called) -> None:
    logging = server.call("LogSettings").settings
    assert (logging["log_error"].bool_param, logging["log_format"].string_param) == (True, "default")
    assert server.call("LogSettings", settings={"log_error": {"bool_param": True}}).settings == logging
    assert server.failure("LogSettings", settings={"log_error": {"bool_param": False}})[0] is (
        grpc.StatusCode.PERMISSION_DENIED
    )
    tracing = server.call("TraceSetting").settings
    assert list(tracing["trace_level"].value) == ["OFF"]
    assert server.call("TraceSetting", model_name="pets", settings={"trace_level": {}}).settings == tracing
    assert server.failure("TraceSetting", model_name="nope")[0] is grpc.StatusCode.NOT_FOUND
    wrong = {"trace_level": {"value": ["TIMESTAMPS"]}}
    assert server.failure("TraceSetting", settings=wrong)[0] is grpc.StatusCode.PERMISSION_DENIED


def check(called: Called, service: str) -> Any:
    request = message("HealthCheckRequest", "grpc.health.v1")(service=service)
    response = message("HealthCheckResponse", "grpc.health.v1")
    stub = called.channel.unary_unary(f"/{HEALTH}/Check", None, response.FromString)
    return stub(request.SerializeToString()).status


def test_health_is_checked_as_kubernetes_does(launch: Launcher) -> None:
    called = launch()
    assert (check(called, ""), check(called, SERVICE)) == (1, 1)
    with pytest.raises(grpc.RpcError) as caught:
        check(called, "nope")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    called.service.draining = True
    assert check(called, "") == 2
    assert not called.call("ServerReady").ready
    assert not called.call("ModelReady", name="pets").ready


def test_what_is_not_offered_is_unimplemented(server: Called) -> None:
    for name in ("CudaSharedMemoryNonsense", "Nonsense"):
        with pytest.raises(grpc.RpcError) as caught:
            server.channel.unary_unary(f"/{SERVICE}/{name}")(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
