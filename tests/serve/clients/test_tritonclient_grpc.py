"""The real tritonclient over gRPC, with and without asyncio, unchanged."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.images import preprocess
from tests.builders import make_preprocess_spec
from tests.serve.clients.conftest import expected
from tests.serve.grpc.conftest import Called

triton: Any = pytest.importorskip("tritonclient.grpc", reason="tritonclient is not installed")


@pytest.fixture
def client(both: Called) -> Iterator[Any]:
    client = triton.InferenceServerClient(both.target)
    yield client
    client.close()


def image_input(*images: bytes) -> Any:
    tensor = triton.InferInput("image", [len(images), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[image] for image in images], dtype=object))
    return tensor


def test_health_metadata_and_configuration(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("pets", "1")
    assert not client.is_model_ready("nope")
    assert "statistics" in client.get_server_metadata().extensions
    assert client.get_model_metadata("flowers__tensor").inputs[0].datatype == "FP32"
    assert client.get_model_config("flowers").config.max_batch_size == 64
    assert client.get_inference_statistics("flowers").model_stats[0].name == "flowers"
    assert client.get_log_settings().settings["log_error"].bool_param
    assert list(client.get_trace_settings().settings["trace_level"].value) == ["OFF"]


def test_infer_with_encoded_images_and_with_pixels(client: Any, images: list[Path]) -> None:
    data = [path.read_bytes() for path in images]
    pixels = np.stack([preprocess.preprocess(image, make_preprocess_spec()) for image in data])
    tensor = triton.InferInput("images", list(pixels.shape), "FP32")
    tensor.set_data_from_numpy(pixels)
    wanted = [expected(image, 1) for image in data]
    for model, given in (("flowers", image_input(*data)), ("flowers__tensor", tensor)):
        found = client.infer(model, [given]).as_numpy("logits")
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_classification_labels_and_options(client: Any, images: list[Path]) -> None:
    data = images[0].read_bytes()
    outputs = [triton.InferRequestedOutput("logits", class_count=2)]
    options = {"priority": 1, "timeout": 60_000_000, "parameters": {"mine": "x"}, "request_id": "7"}
    result = client.infer("pets", [image_input(data)], outputs=outputs, client_timeout=60, **options)
    assert result.get_response().id == "7"
    order = np.argsort(-expected(data, 0))[:2]
    assert [text.decode().split(":")[1:] for text in result.as_numpy("logits")[0]] == [
        [str(index), f"pets {index}"] for index in order
    ]


def test_asynchronous_and_streamed_requests(client: Any, images: list[Path]) -> None:
    answers: queue.SimpleQueue[tuple[Any, Any]] = queue.SimpleQueue()
    data = [path.read_bytes() for path in images]
    for place, image in enumerate(data):
        client.async_infer(
            "pets", [image_input(image)], lambda result, error: answers.put((result, error)), request_id=str(place)
        )
    client.start_stream(lambda result, error: answers.put((result, error)))
    for place, image in enumerate(data):
        client.async_stream_infer("pets", [image_input(image)], request_id=str(place))
    client.stop_stream()
    for _ in range(2 * len(data)):
        result, error = answers.get(timeout=60)
        assert error is None
        place = int(result.get_response().id)
        np.testing.assert_allclose(result.as_numpy("logits")[0], expected(data[place], 0), rtol=1e-4, atol=1e-5)


def test_errors_reach_the_user_as_text(client: Any, images: list[Path]) -> None:
    error = triton.InferenceServerException
    with pytest.raises(error, match=r"NOT_FOUND\] Request for unknown model: 'nope' is not found"):
        client.infer("nope", [image_input(b"x")])
    with pytest.raises(error, match=r"INVALID_ARGUMENT\].*image"):
        client.infer("pets", [image_input(b"no image")])
    with pytest.raises(error, match=r"PERMISSION_DENIED\] setting 'log_error' is fixed"):
        client.update_log_settings({"log_error": False})


def test_asyncio(both: Called, images: list[Path]) -> None:
    aio: Any = pytest.importorskip("tritonclient.grpc.aio")
    data = [path.read_bytes() for path in images]

    async def ask() -> list[Any]:
        async with aio.InferenceServerClient(both.target) as client:
            assert await client.is_model_ready("digits")
            return list(await asyncio.gather(*(client.infer("digits", [image_input(image)]) for image in data * 4)))

    for place, result in enumerate(asyncio.run(ask())):
        np.testing.assert_allclose(result.as_numpy("logits")[0], expected(data[place % 3], 2), rtol=1e-4, atol=1e-5)
