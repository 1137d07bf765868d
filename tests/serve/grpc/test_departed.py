from __future__ import annotations

import logging
from typing import Any

import grpc
import pytest
from grpc._cython import cygrpc

from adaptertune_deploy.serve.grpc import departed
from adaptertune_deploy.serve.grpc.calls import Calls
from tests.serve.grpc.conftest import Launcher, image_request, until


def test_a_client_that_left_before_its_answer_is_no_fault(
    launch: Launcher, png: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[str] = []

    async def unsent(calls: Calls, path: str, context: Any) -> bytes:
        tried.append(path)
        raise cygrpc.ExecuteBatchError('Failed "execute_batch"')

    called = launch()
    once = Calls._once
    monkeypatch.setattr(Calls, "_once", unsent)
    waiting = called.future("ModelInfer", image_request(png))
    until(lambda: len(tried) == 1)
    monkeypatch.setattr(Calls, "_once", once)
    assert called.call("ServerLive").live
    waiting.cancel()
    assert "ExecuteBatchError" not in caplog.text


def test_other_faults_of_the_library_are_told(caplog: pytest.LogCaptureFixture) -> None:
    departed.hush()
    departed.hush()
    logger = logging.getLogger(departed.LIBRARY)
    logger.error("said without a trace")
    logger.error("another one", exc_info=grpc.aio.InternalError("no"))
    assert [record.message for record in caplog.records] == ["said without a trace", "another one"]
