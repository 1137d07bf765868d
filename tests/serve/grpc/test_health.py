from __future__ import annotations

import asyncio
import json
from typing import Any

import grpc
import pytest

from adaptertune_deploy.serve.grpc import health
from adaptertune_deploy.serve.grpc.messages import message
from adaptertune_deploy.serve.grpc.methods import HEALTH, SERVICE
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.settings import Settings
from tests.serve.fakes import WAIT_S, make_shared
from tests.serve.grpc.conftest import Called, Launcher, until
from tests.serve.grpc.test_server import held

RESPONSE = message("HealthCheckResponse", "grpc.health.v1")
SERVING, NOT_SERVING, SERVICE_UNKNOWN = RESPONSE.SERVING, RESPONSE.NOT_SERVING, RESPONSE.SERVICE_UNKNOWN


def watch(called: Called, service: str = "") -> Any:
    stub = called.channel.unary_stream(f"/{HEALTH}/Watch", None, RESPONSE.FromString)
    return stub(message("HealthCheckRequest", "grpc.health.v1")(service=service).SerializeToString(), timeout=WAIT_S)


@pytest.mark.parametrize(
    ("service", "status"), [("", SERVING), (SERVICE, SERVING), ("inference.Other", SERVICE_UNKNOWN)]
)
def test_a_watch_begins_with_the_status(server: Called, service: str, status: int) -> None:
    watching = watch(server, service)
    assert next(watching).status == status
    watching.cancel()
    until(lambda: server.open_calls == 0)


@pytest.mark.case("B2", "gRPC: clients that watch the server's health", "told of its end, which they do not hold up")
def test_who_watches_is_told_of_the_end_and_does_not_hold_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LOOK_S", 0.01)
    with held(Settings(drain_timeout=100 * WAIT_S)) as (called, server, running):
        watching = watch(called)
        assert next(watching).status == SERVING
        server.stop(0.2)
        assert next(watching).status == NOT_SERVING
        running.result(WAIT_S)
        assert list_of(watching) == []
        assert watching.code() is grpc.StatusCode.UNAVAILABLE
        assert watching.details() == "the server is shutting down; send further requests to another one"


def list_of(watching: Any) -> list[int]:
    with pytest.raises(grpc.RpcError):
        list(watching)
    return []


def test_a_status_that_changed_at_the_very_end_is_said_before() -> None:
    assert play(Settings(), ended=True, draining=True) == [NOT_SERVING]


def test_what_stands_still_is_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "LOOK_S", 0.001)
    assert play(Settings(keep_alive=0.01), ended=False, draining=True)[:3] == [NOT_SERVING] * 3


def play(settings: Settings, ended: bool, draining: bool) -> list[int]:
    """Return what a watch says until it ends, or three answers."""

    async def body() -> list[int]:
        service, event, found = Service(make_shared(), settings), asyncio.Event(), []
        service.draining = draining
        if ended:
            event.set()
        async for answer in health.watch(service, health.REQUEST(), event):
            found.append(answer.status)
            if len(found) == 3:
                event.set()
        return found

    return asyncio.run(asyncio.wait_for(body(), WAIT_S))


def test_watches_leave_half_of_all_connections_to_others(launch: Launcher) -> None:
    called = launch(Settings(max_connections=24))
    watching = []
    for _ in range(12 // 6):  # as many as one connection may have open
        channel = grpc.insecure_channel(called.target, [("grpc.use_local_subchannel_pool", 1)])
        client = Called(called.http, channel, called.target, called.engine, called.service, called.companion)
        watching += [watch(client) for _ in range(6)]
    assert [next(each).status for each in watching] == [SERVING] * 12
    with pytest.raises(grpc.RpcError) as caught:
        next(watch(called))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert caught.value.details() == "12 streams are open, the most at a time; try again later"
    assert called.call("ServerReady").ready
    for each in watching:
        each.cancel()
    until(lambda: called.open_calls == 0)
    assert next(watch(called)).status == SERVING


def test_a_client_that_checks_health_by_itself_stays_away_while_the_server_does_not_serve(launch: Launcher) -> None:
    """Which it does not where Watch is absent: it then takes every server for healthy."""
    called = launch()
    config = {"healthCheckConfig": {"serviceName": SERVICE}, "loadBalancingConfig": [{"round_robin": {}}]}
    options = [("grpc.service_config", json.dumps(config)), ("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(called.target, options) as channel:
        client = Called(called.http, channel, called.target, called.engine, called.service, called.companion)
        assert client.call("ServerReady").ready
        called.service.draining = True

        def stays_away() -> bool:
            try:
                client.call("ServerLive")
            except grpc.RpcError as error:
                return bool(error.code() is grpc.StatusCode.UNAVAILABLE)
            return False

        until(stays_away)
        called.service.draining = False
