"""The real tritonclient against the server, unchanged."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.images import preprocess
from tests.builders import encode, make_image, make_preprocess_spec
from tests.serve.conftest import Running
from tests.serve.fakes import make_adapters, reference

triton: Any = pytest.importorskip("tritonclient.http", reason="tritonclient is not installed")


@pytest.fixture
def client(server: Running) -> Iterator[Any]:
    client = triton.InferenceServerClient(server.url.removeprefix("http://"))
    yield client
    client.close()


def image_input(*images: bytes) -> Any:
    tensor = triton.InferInput("image", [len(images), 1], "BYTES")
    tensor.set_data_from_numpy(np.array([[image] for image in images], dtype=object))
    return tensor


def expected(image: bytes, task: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    return reference(preprocess.preprocess(image, make_preprocess_spec()), make_adapters()[task])


def test_health_metadata_and_configuration(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("pets")
    assert client.is_model_ready("pets", "1")
    assert not client.is_model_ready("nope")
    assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
    assert client.get_model_metadata("flowers")["inputs"][0]["datatype"] == "BYTES"
    assert client.get_model_config("flowers")["max_batch_size"] == 64
    assert client.get_inference_statistics("flowers")["model_stats"][0]["name"] == "flowers"
    assert len(client.get_inference_statistics()["model_stats"]) == 3


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_infer_with_binary_images(client: Any, compression: str | None) -> None:
    images = [encode(make_image(seed=seed), "JPEG") for seed in range(2)]
    result = client.infer("flowers", [image_input(*images)], request_compression_algorithm=compression)
    found = result.as_numpy("logits")
    assert (found.dtype, found.shape) == (np.float32, (2, 5))
    np.testing.assert_allclose(found, [expected(image, 1) for image in images], rtol=1e-4, atol=1e-5)


def test_infer_with_json_outputs_and_an_id(client: Any, png: bytes) -> None:
    outputs = [triton.InferRequestedOutput("logits", binary_data=False)]
    result = client.infer("pets", [image_input(png)], outputs=outputs, request_id="7", model_version="1")
    assert result.get_response()["id"] == "7"
    np.testing.assert_allclose(result.as_numpy("logits")[0], expected(png, 0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("binary", [True, False])
def test_classification_labels_come_back(client: Any, png: bytes, binary: bool) -> None:
    outputs = [triton.InferRequestedOutput("logits", binary_data=binary, class_count=2)]
    options = {"priority": 1, "timeout": 60_000_000, "parameters": {"task": "pets"}}
    result = client.infer("pets", [image_input(png)], outputs=outputs, **options).as_numpy("logits")
    logits = expected(png, 0)
    for text, index in zip(result[0].tolist(), np.argsort(-logits), strict=False):
        value, place, label = (text.decode() if isinstance(text, bytes) else text).split(":")
        assert (int(place), label) == (index, f"pets {index}")
        assert float(value) == pytest.approx(logits[index], abs=1e-4)


def test_requests_at_the_same_time(server: Running, png: bytes) -> None:
    host = server.url.removeprefix("http://")
    with triton.InferenceServerClient(host, concurrency=4) as client:
        waiting = [client.async_infer(task, [image_input(png)]) for task in ("pets", "flowers", "digits") * 4]
        for place, request in enumerate(waiting):
            found = request.get_result().as_numpy("logits")[0]
            np.testing.assert_allclose(found, expected(png, place % 3), rtol=1e-4, atol=1e-5)


def test_errors_reach_the_user_as_text(client: Any, png: bytes) -> None:
    exception = triton.InferenceServerException if hasattr(triton, "InferenceServerException") else Exception
    with pytest.raises(exception, match="Request for unknown model: 'nope' is not found"):
        client.infer("nope", [image_input(png)])
    with pytest.raises(exception, match="image"):
        client.infer("pets", [image_input(b"no image")])
    with pytest.raises(exception, match="unexpected inference output 'wrong'"):
        client.infer("pets", [image_input(png)], outputs=[triton.InferRequestedOutput("wrong")])
