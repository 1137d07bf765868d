"""The real tritonclient over HTTP with asyncio (aiohttp), unchanged."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adaptertune_deploy.core.images import preprocess
from tests.builders import make_preprocess_spec
from tests.serve.clients.conftest import expected
from tests.serve.grpc.conftest import Called

triton: Any = pytest.importorskip("tritonclient.http", reason="tritonclient is not installed")
aio: Any = pytest.importorskip("tritonclient.http.aio", reason="aiohttp is not installed")


def test_everything_at_the_same_time(both: Called, images: list[Path]) -> None:
    data = [path.read_bytes() for path in images]
    pixels = np.stack([preprocess.preprocess(image, make_preprocess_spec()) for image in data])
    tensor = triton.InferInput("images", list(pixels.shape), "FP32")
    tensor.set_data_from_numpy(pixels)
    encoded = triton.InferInput("image", [3, 1], "BYTES")
    encoded.set_data_from_numpy(np.array([[image] for image in data], dtype=object))

    async def ask() -> None:
        async with aio.InferenceServerClient(both.http.base_url.netloc.decode()) as client:
            assert await client.is_server_ready()
            assert (await client.get_model_config("pets__tensor"))["input"][0]["format"] == "FORMAT_NCHW"
            asked = [("pets", encoded), ("pets__tensor", tensor)] * 8
            for result in await asyncio.gather(*(client.infer(name, [given]) for name, given in asked)):
                wanted = [expected(image, 0) for image in data]
                np.testing.assert_allclose(result.as_numpy("logits"), wanted, rtol=1e-4, atol=1e-5)
            with pytest.raises(Exception, match="'nope' is not found"):
                await client.infer("nope", [encoded])

    asyncio.run(ask())
