from __future__ import annotations

import base64
from typing import Any

import grpc
import pytest

from tests.serve.grpc.conftest import Called

OFFERED = "the request names a shared memory region, which this server does not offer"


@pytest.mark.case("C12", "shared memory, over gRPC", "no region is registered, none told of")
@pytest.mark.parametrize("kind", ["System", "Cuda"])
def test_nothing_is_registered_and_nothing_can_be(server: Called, kind: str) -> None:
    for method in ("Status", "Unregister"):
        assert server.call(f"{kind}SharedMemory{method}").ByteSize() == 0
    assert server.failure(f"{kind}SharedMemoryRegister") == (grpc.StatusCode.UNIMPLEMENTED, OFFERED)
    code, text = server.failure(f"{kind}SharedMemoryStatus", name="x")
    assert (code, "'x'" in text) == (grpc.StatusCode.NOT_FOUND, False)


def test_nvidias_client_finds_none(server: Called) -> None:
    triton: Any = pytest.importorskip("tritonclient.grpc")
    utils = pytest.importorskip("tritonclient.utils")
    with triton.InferenceServerClient(server.target) as client:
        client.unregister_system_shared_memory("x")
        client.unregister_cuda_shared_memory()
        for status in (client.get_system_shared_memory_status(), client.get_cuda_shared_memory_status()):
            assert len(status.regions) == 0
        with pytest.raises(utils.InferenceServerException, match=OFFERED):
            client.register_system_shared_memory("x", "/x", 8)
        with pytest.raises(utils.InferenceServerException, match=OFFERED):
            client.register_cuda_shared_memory("x", base64.b64encode(b"handle"), 0, 8)
