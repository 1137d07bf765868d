"""How replicas share a cluster, and what Ray is told; tests/flow/test_ray.py runs it."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest

from adaptertune_deploy.core.errors import EngineError, UsageError

deployment = pytest.importorskip(
    "adaptertune_deploy.serve.ray.deployment", reason="ray is not installed", exc_type=ImportError
)


@pytest.mark.parametrize(
    ("cores", "largest", "replicas", "threads", "cpus"),
    [
        (8, 8, 2, 0, 4),
        (8, 8, 3, 0, 2),
        (64, 16, 2, 0, 16),  # a replica lies on one machine
        (2, 2, 2, 0, 1),
        (8, 8, 2, 3, 3),
    ],
)
def test_replicas_share_the_cores_unless_threads_are_given(
    cores: int, largest: int, replicas: int, threads: int, cpus: int
) -> None:
    assert deployment.share(cores, largest, replicas, threads, False) == deployment.Share(cpus, 0)
    assert deployment.share(cores, largest, replicas, threads, True) == deployment.Share(cpus, 1)


@pytest.mark.parametrize(
    ("cores", "largest", "replicas", "threads"), [(2, 2, 3, 0), (8, 8, 3, 4), (16, 4, 1, 8), (0, 0, 1, 0)]
)
def test_more_than_the_cluster_has_is_refused(cores: int, largest: int, replicas: int, threads: int) -> None:
    with pytest.raises(UsageError, match=f"Ray has {cores} cores, {largest} on its largest machine"):
        deployment.share(cores, largest, replicas, threads, False)


@pytest.mark.parametrize(
    ("message", "line"),
    [
        ("Traceback ...\n  raise\nadaptertune_deploy.core.errors.EngineError: no memory\n\nRetrying 1", "no memory"),
        ("Traceback ...\nValueError: of Ray's own\n", "ValueError: of Ray's own"),
        ("", "Deploying application failed"),
    ],
)
def test_of_what_ray_says_of_a_replica_that_fails_the_line_for_people_is_told(
    monkeypatch: pytest.MonkeyPatch, message: str, line: str
) -> None:
    def run(*arguments: object, **options: object) -> None:
        raise RuntimeError("Deploying application failed")

    found = SimpleNamespace(deployments={"atd": SimpleNamespace(message=message)})
    monkeypatch.setattr(deployment.ray_serve, "run", run)
    monkeypatch.setattr(deployment.ray_serve, "status", lambda: SimpleNamespace(applications={"adaptertune": found}))
    with pytest.raises(EngineError, match=f"^a replica does not start: {line}$"):
        deployment._run(None)


def test_a_proxy_that_listens_elsewhere_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        deployment._check_listening("0.0.0.0", port)
    with pytest.raises(EngineError, match=f"does not listen on 127.0.0.1:{port}"):
        deployment._check_listening("127.0.0.1", port)


def test_a_cluster_that_is_not_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(address: str, **options: object) -> None:
        raise ConnectionError(f"Could not find {address}\nmore")

    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.9:6379")
    monkeypatch.setattr(deployment.ray, "init", init)
    with pytest.raises(EngineError, match=r"^no Ray at RAY_ADDRESS=10.0.0.9:6379: Could not find 10.0.0.9:6379$"):
        deployment._connected().__enter__()


def test_nothing_is_reported_to_the_makers_of_ray() -> None:
    from ray._common.usage import usage_lib

    assert not usage_lib.usage_stats_enabled()
