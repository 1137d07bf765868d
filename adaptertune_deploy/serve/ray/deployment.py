"""Running replicas on a Ray cluster, the one that is there or one that this process starts; the only home of ray."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import FrameType
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when ray is imported: nothing is reported to its makers

import ray
from ray import serve as ray_serve
from ray.serve.exceptions import RayServeException

from adaptertune_deploy.core.errors import EngineError, UsageError
from adaptertune_deploy.serve.ray.replica import Plan, ReplicaApp

NAME = "adaptertune"
MARGIN_S = 5.0
CONNECT_S = 5.0
HEALTH_PERIOD_S = 5.0
LOCAL = "local"
OBJECT_STORE_BYTES = 100_000_000  # of a cluster of our own: nothing is put there
QUIET = {"log_level": "WARNING", "enable_access_log": False}  # the replicas' own log has both, where they are asked for
SIGNALS = (signal.SIGINT, signal.SIGTERM)
# The last line of a replica's traceback that is an error of ours, which is one line.
OURS = re.compile(r"adaptertune_deploy\.core\.errors\.\w+: (.+)")


class Replica:
    """What Ray asks of a replica besides answers; ingress adds `app`, the ASGI application."""

    app: Any

    def check_health(self) -> None:
        """Raise where Ray should start another replica in the place of this one."""
        if isinstance(self.app, ReplicaApp):
            self.app.check()


@dataclass(frozen=True)
class Share:
    """What a replica has of a machine.

    cpus: cores, and threads of one run.
    gpus: 1 where the engine needs one.
    """

    cpus: int
    gpus: int


def share(cores: float, largest: float, replicas: int, threads: int, gpu: bool) -> Share:
    """Return what each replica gets.

    Args:
        cores: of the cluster.
        largest: cores of its largest machine.
        replicas: how many share them.
        threads: which somebody asked for; 0 gives each replica its part of the cores.
        gpu: whether each needs a GPU.

    Raises:
        UsageError: the cluster has not so many cores.
    """
    cpus = threads or max(1, math.floor(min(cores / replicas, largest)))
    if cpus * replicas > cores or cpus > largest:
        raise UsageError(
            f"--replicas {replicas} of {cpus} cores each: Ray has {cores:g} cores, {largest:g} on its largest machine; "
            "ask for fewer, or for fewer --threads"
        )
    return Share(cpus, int(gpu))


def application(plan: Plan, replicas: int, each: Share) -> Any:
    """Return what ray.serve.run takes: replicas of the HTTP application, each of which opens the bundle itself.

    Args:
        plan: what they serve.
        replicas: how many.
        each: what each has.
    """
    opening = plan.opening
    plan = replace(plan, opening=replace(opening, asked=replace(opening.asked, threads=each.cpus)))
    settings = plan.settings

    def build() -> ReplicaApp:
        return ReplicaApp(plan, ray_serve.get_replica_context().replica_id.unique_id)

    deployment = ray_serve.deployment(
        name="atd",
        num_replicas=replicas,
        ray_actor_options={"num_cpus": each.cpus, "num_gpus": each.gpus},
        # The replica's own queue decides, since it knows rows and tasks; Ray only keeps the rest short.
        max_ongoing_requests=settings.max_connections,
        max_queued_requests=settings.max_connections,
        max_constructor_retry_count=1,
        graceful_shutdown_timeout_s=settings.drain_timeout,
        graceful_shutdown_wait_loop_s=0.5,
        health_check_period_s=HEALTH_PERIOD_S,
        health_check_timeout_s=max(30.0, settings.run_timeout),
        logging_config=QUIET,
    )
    return deployment(ray_serve.ingress(build)(Replica)).bind()


def serve(
    plan: Plan, replicas: int, host: str, port: int, on_started: Callable[[Share], None] = lambda each: None
) -> None:
    """Serve until SIGTERM or SIGINT; returns when the replicas have answered what they had.

    Joins the cluster of RAY_ADDRESS, else starts one of its own on this machine, and ends it.

    Args:
        plan: what to serve.
        replicas: how many at a time.
        host: address on which Ray's proxy listens, on every machine that has a replica.
        port: its TCP port.
        on_started: called with what each replica has, once all are warm.

    Raises:
        UsageError: the cluster has not the cores or GPUs.
        EngineError: there is no such cluster, a replica does not start, or the cluster's proxy listens elsewhere.
    """
    ended = threading.Event()
    with _connected():
        each = _shared(plan, replicas)
        options = ray_serve.HTTPOptions(
            host=host,
            port=port,
            keep_alive_timeout_s=math.ceil(plan.settings.keep_alive),
            request_timeout_s=plan.settings.request_timeout + MARGIN_S,
        )
        ray_serve.start(http_options=options, logging_config=QUIET)
        logging.getLogger("ray.serve").setLevel(logging.WARNING)
        try:
            with _signals_set(ended):
                _run(application(plan, replicas, each))
                _check_listening(host, port)
                if not ended.is_set():
                    on_started(each)
                ended.wait()
        finally:
            ray_serve.delete(NAME)


@contextlib.contextmanager
def _connected() -> Iterator[None]:
    """Hold a connection to the cluster that is meant: another one that happens to run on this machine is not."""
    address = os.environ.get("RAY_ADDRESS") or LOCAL
    own = {"include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES} if address == LOCAL else {}
    try:
        ray.init(address=address, log_to_driver=True, logging_level=logging.WARNING, **own)
    except Exception as error:  # noqa: BLE001  what it raises is mostly that very class
        where = "" if address == LOCAL else f" at RAY_ADDRESS={address}"
        raise EngineError(f"no Ray{where}: {str(error).splitlines()[0]}") from None
    try:
        yield
    finally:
        ray.shutdown()


def _shared(plan: Plan, replicas: int) -> Share:
    found = ray.cluster_resources()
    machines = [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]
    asked = plan.opening.asked
    gpu = asked.device.startswith("cuda") or asked.engine.startswith("tensorrt")
    if gpu and found.get("GPU", 0.0) < replicas:
        raise UsageError(f"--replicas {replicas} need a GPU each: Ray has {found.get('GPU', 0.0):g}; ask for fewer")
    return share(found.get("CPU", 0.0), max(machines, default=0.0), replicas, asked.threads, gpu)


def _run(made: Any) -> None:
    """Start an application, and return when every replica is warm."""
    try:
        ray_serve.run(made, name=NAME, route_prefix="/", blocking=False)
    except (RuntimeError, RayServeException) as error:
        told = _told() or str(error)
        lines = OURS.findall(told) or [line for line in told.splitlines() if line.strip()]
        raise EngineError(f"a replica does not start: {lines[-1].strip()}") from None


def _told() -> str:
    """Return what Ray knows of why the replicas do not start, "" where it knows nothing."""
    found = ray_serve.status().applications.get(NAME)
    return "\n".join(held.message for held in found.deployments.values()) if found else ""


def _check_listening(host: str, port: int) -> None:
    """Raise where a proxy that somebody started before keeps its own address: Ray says so in its log alone."""
    at = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    try:
        socket.create_connection((at, port), CONNECT_S).close()
    except OSError as error:
        raise EngineError(
            f"Ray's proxy does not listen on {host}:{port} ({error.strerror or error}); where Ray Serve runs already, "
            "give the --host and --port that it was started with"
        ) from None


@contextlib.contextmanager
def _signals_set(ended: threading.Event) -> Iterator[None]:
    def on_signal(number: int, frame: FrameType | None) -> None:
        if ended.is_set():
            os._exit(128 + number)
        ended.set()

    before = {number: signal.signal(number, on_signal) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
