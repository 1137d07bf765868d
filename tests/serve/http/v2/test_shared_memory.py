from __future__ import annotations

from typing import Any

import pytest

from tests.serve.conftest import Running

OFFERED = "the request names a shared memory region, which this server does not offer"


@pytest.mark.case("C12", "shared memory, over HTTP", "no region is registered, none told of")
@pytest.mark.parametrize("kind", ["system", "cuda"])
def test_nothing_is_registered_and_nothing_can_be(server: Running, kind: str) -> None:
    root = f"/v2/{kind}sharedmemory"
    assert server.client.get(f"{root}/status").json() == []
    for path in ("/unregister", "/region/x/unregister"):
        answer = server.client.post(root + path)
        assert (answer.status_code, answer.content) == (200, b"")
    answer = server.client.post(f"{root}/region/x/register", json={"key": "/x", "byte_size": 8})
    assert (answer.status_code, answer.json()) == (400, {"error": OFFERED})
    answer = server.client.get(f"{root}/region/x/status")
    assert (answer.status_code, "'x'" in answer.text) == (404, False)


def test_nvidias_client_finds_none(server: Running) -> None:
    triton: Any = pytest.importorskip("tritonclient.http")
    utils = pytest.importorskip("tritonclient.utils")
    with triton.InferenceServerClient(server.client.base_url.netloc.decode()) as client:
        client.unregister_system_shared_memory()
        client.unregister_cuda_shared_memory("x")
        assert client.get_system_shared_memory_status() == client.get_cuda_shared_memory_status() == []
        with pytest.raises(utils.InferenceServerException, match=OFFERED):
            client.register_system_shared_memory("x", "/x", 8)
        with pytest.raises(utils.InferenceServerException, match=OFFERED):
            client.register_cuda_shared_memory("x", b"handle", 0, 8)
