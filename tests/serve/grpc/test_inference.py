from __future__ import annotations

import logging
import queue
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.images import preprocess
from adaptertune_deploy.serve.grpc.messages import message
from adaptertune_deploy.serve.grpc.methods import SERVICE
from adaptertune_deploy.serve.settings import Settings
from tests.builders import make_preprocess_spec
from tests.serve.fakes import WAIT_S, make_adapters, reference
from tests.serve.grpc.conftest import Called, Launcher, image_request, until

CODE = grpc.StatusCode


def logits_of(answer: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.frombuffer(answer.raw_output_contents[0], "<f4")


def failures(called: Called, task: str = "pets") -> dict[str, int]:
    return {reason: count for reason, count in called.service.statistics.tasks[task, 1].failures.items() if count}


def test_images_and_pixels_get_the_tasks_answer(server: Called, png: bytes) -> None:
    pixels = preprocess.preprocess(png, make_preprocess_spec())
    expected = reference(pixels, make_adapters()[1])
    request = message("ModelInferRequest")(model_name="flowers__tensor", model_version="1")
    request.inputs.add(name="images", datatype="FP32", shape=[1, *pixels.shape])
    request.raw_input_contents.append(pixels.tobytes())
    for data in (image_request(png, model="flowers", id="7"), request.SerializeToString()):
        found = server.call("ModelInfer", data)
        np.testing.assert_allclose(logits_of(found), expected, rtol=1e-4, atol=1e-5)
    assert server.call("ModelInfer", image_request(png, id="7")).id == "7"


@pytest.mark.parametrize(
    ("data", "code", "text"),
    [
        (b"", CODE.NOT_FOUND, "Request for unknown model: '' is not found"),
        (b"\xff\xff", CODE.INVALID_ARGUMENT, "no ModelInferRequest"),
        (image_request(b"x", model="nope"), CODE.NOT_FOUND, "'nope' is not found"),
        (image_request(b"x", model_version="2"), CODE.NOT_FOUND, "version 2 is not found"),
        (image_request(b"no image"), CODE.INVALID_ARGUMENT, "image"),
        (image_request(*[b"x"] * 65), CODE.INVALID_ARGUMENT, "batch-size must be <= 64"),
        (image_request(b"x") + b"\x2a\0" * 5000, CODE.INVALID_ARGUMENT, "more than 4,160 fields"),
    ],
)
def test_a_wrong_request_has_its_status(server: Called, data: bytes, code: grpc.StatusCode, text: str) -> None:
    found, said = server.failure("ModelInfer", data)
    assert found is code
    assert text in said


def test_every_failure_is_counted_with_its_reason(
    launch: Launcher, png: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    called = launch(Settings(max_batch=4, max_request_rows=4, queue_limit=4, task_queue_limit=4))
    called.failure("ModelInfer", image_request(b"no image"))
    called.failure("ModelInfer", image_request(*[b"x"] * 5))
    assert failures(called) == {"OTHER": 2}
    called.engine.error = EngineError("broken")
    with caplog.at_level(logging.CRITICAL, "adaptertune_deploy"):
        assert called.failure("ModelInfer", image_request(png))[0] is CODE.INTERNAL
    assert failures(called) == {"OTHER": 2, "BACKEND": 1}
    called.engine.error = None
    called.engine.forget()
    called.engine.gate.clear()
    held = called.future("ModelInfer", image_request(*[png] * 4))
    called.engine.wait_entered()
    code, text = called.failure("ModelInfer", image_request(png))
    assert (code, text.startswith("Exceeds maximum queue size")) == (CODE.UNAVAILABLE, True)
    assert failures(called) == {"OTHER": 2, "BACKEND": 1, "REJECTED": 1}
    called.engine.gate.set()
    assert len(logits_of(held.result())) == 12


def test_a_call_that_is_cancelled_leaves_the_queue(launch: Launcher, png: bytes) -> None:
    called = launch()
    called.engine.gate.clear()
    held = called.future("ModelInfer", image_request(png, model="digits"))
    called.engine.wait_entered()
    gone = called.future("ModelInfer", image_request(png))
    until(lambda: called.service.batcher.admitted == 2)
    gone.cancel()
    until(lambda: called.service.batcher.admitted == 1)
    called.engine.gate.set()
    held.result()
    assert len(called.engine.calls) == 1
    assert failures(called) == {"CANCELED": 1}


@pytest.mark.parametrize("own", [True, False])
def test_a_deadline_holds_while_the_engine_is_busy(launch: Launcher, png: bytes, own: bool) -> None:
    called = launch()
    called.engine.gate.clear()
    held = called.future("ModelInfer", image_request(png, model="digits"))
    called.engine.wait_entered()
    parameters = {"timeout": {"int64_param": 50_000}} if own else {}
    late = called.future("ModelInfer", image_request(png, parameters=parameters), timeout=WAIT_S if own else 0.05)
    assert late.exception().code() is CODE.DEADLINE_EXCEEDED
    if own:  # else the client may say so first
        assert late.details().startswith("Request timeout expired")
    until(lambda: called.service.batcher.admitted == 1)
    called.engine.gate.set()
    held.result()
    assert len(called.engine.calls) == 1


def test_a_message_that_is_too_large_is_refused(launch: Launcher) -> None:
    called = launch(Settings(body_limit=10_000))
    code, text = called.failure("ModelInfer", image_request(bytes(10_001)))
    assert code is CODE.RESOURCE_EXHAUSTED
    assert "larger than max" in text
    assert called.service.bytes.used == 0


def test_a_compressed_message_is_refused_before_it_is_unpacked(server: Called) -> None:
    stub = server.channel.unary_unary(f"/{SERVICE}/ModelInfer")
    with pytest.raises(grpc.RpcError) as caught:
        stub(image_request(bytes(1_000_000)), compression=grpc.Compression.Gzip)
    assert caught.value.code() is CODE.UNIMPLEMENTED


def stream(called: Called, *data: bytes) -> Iterator[Any]:
    stub = called.channel.stream_stream(
        f"/{SERVICE}/ModelStreamInfer", None, message("ModelStreamInferResponse").FromString
    )
    found: Iterator[Any] = stub(iter(data), timeout=WAIT_S)
    return found


def test_a_stream_answers_each_request_and_goes_on_after_an_error(server: Called, png: bytes) -> None:
    found = list(
        stream(server, image_request(png, id="1"), b"\xff", image_request(png, model="no"), image_request(png))
    )
    expected = reference(preprocess.preprocess(png, make_preprocess_spec()), make_adapters()[0])
    for place in (0, 3):
        np.testing.assert_allclose(logits_of(found[place].infer_response), expected, rtol=1e-4, atol=1e-5)
        assert found[place].infer_response.parameters["triton_final_response"].bool_param
    assert "no ModelInferRequest" in found[1].error_message
    assert not found[1].HasField("infer_response")
    assert "'no' is not found" in found[2].error_message
    assert not found[2].infer_response.outputs


def test_an_error_in_a_stream_names_its_request(server: Called, png: bytes) -> None:
    asked = [image_request(png, id="1"), image_request(b"no image", id="2", model_version="1"), image_request(png)]
    named = [(found.infer_response.id, found.infer_response.model_name) for found in stream(server, *asked)]
    assert named == [("1", "pets"), ("2", "pets"), ("", "pets")]
    (failed,) = stream(server, image_request(png, id="3", model="no", model_version="9"))
    assert "'no' is not found" in failed.error_message
    assert (failed.infer_response.id, failed.infer_response.model_name) == ("3", "no")
    assert failed.infer_response.model_version == "9"


def test_streams_are_as_many_as_their_messages_may_be_and_end_when_idle(launch: Launcher, png: bytes) -> None:
    called = launch(Settings(body_limit=50_000, bytes_limit=50_000, keep_alive=0.5))
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    waiting.put(image_request(png))
    stub = called.channel.stream_stream(
        f"/{SERVICE}/ModelStreamInfer", None, message("ModelStreamInferResponse").FromString
    )
    first = stub(iter(waiting.get, b""), timeout=WAIT_S)
    assert len(logits_of(next(first).infer_response)) == 3
    with pytest.raises(grpc.RpcError) as caught:
        list(stream(called, image_request(png)))
    assert caught.value.code() is CODE.UNAVAILABLE
    assert list(first) == []  # ends by itself
    waiting.put(b"")
    assert len(list(stream(called, image_request(png)))) == 1


def test_answers_that_are_kept_are_shared_with_http(launch: Launcher, png: bytes) -> None:
    called = launch(Settings(cache=1, max_batch=8))
    document = called.http.post("/v1/predict?tasks=pets", content=png).json()
    assert (document["cached"], len(called.engine.calls)) == (0, 1)
    first = logits_of(called.call("ModelInfer", image_request(png)))
    again = logits_of(called.call("ModelInfer", image_request(png, png)))
    assert again.tolist() == [*first.tolist(), *first.tolist()]
    assert len(called.engine.calls) == 1
    pixels = preprocess.preprocess(png, make_preprocess_spec())
    request = message("ModelInferRequest")(model_name="pets__tensor")
    request.inputs.add(name="images", datatype="FP32", shape=[1, *pixels.shape])
    request.raw_input_contents.append(pixels.tobytes())
    for _ in range(2):
        found = logits_of(called.call("ModelInfer", request.SerializeToString()))
        np.testing.assert_allclose(found, first, rtol=1e-5)
    assert len(called.engine.calls) == 2
    (entry,) = called.call("ModelStatistics", name="pets").model_stats
    assert (entry.inference_stats.cache_hit.count, entry.inference_stats.cache_miss.count) == (3, 2)
    assert called.call("ModelConfig", name="pets").config.response_cache.enable
    assert not launch().call("ModelConfig", name="pets").config.HasField("response_cache")
