"""atd serve --ray: the same server as replicas on Ray Serve."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from adaptertune_deploy.cli.parts.options import ENGINE, flag, value
from adaptertune_deploy.cli.terminal import console, interrupts
from adaptertune_deploy.core.errors import AtdError, UsageError

if TYPE_CHECKING:
    from types import ModuleType

    from adaptertune_deploy.cli.parts.listeners import Listeners
    from adaptertune_deploy.serve.logs.setup import LogOptions
    from adaptertune_deploy.serve.opening import Opening
    from adaptertune_deploy.serve.ray.deployment import Share
    from adaptertune_deploy.serve.settings import Settings

REPLICAS = 2
OnRay = Annotated[
    bool,
    flag("--ray", ENGINE, "Run replicas of all of it on Ray Serve: the cluster of $RAY_ADDRESS, or one of its own."),
]
Replicas = Annotated[int | None, value("--replicas", "N", ENGINE, "With --ray: how many.", str(REPLICAS))]


def checked(ray: bool, replicas: int | None, port: int, others: Listeners, device: str) -> int:
    """Return how many replicas are asked for, 0 where none are: without --ray this process serves by itself.

    Raises:
        UsageError: --replicas without --ray, less than one, or something that replicas have not.
    """
    if not ray:
        if replicas is not None:
            raise UsageError(f"--replicas {replicas}: needs --ray; without it this process serves alone")
        return 0
    count = REPLICAS if replicas is None else replicas
    if count < 1:
        raise UsageError(f"--replicas {count}: expected at least 1")
    if others.grpc_port is not None:
        raise UsageError("--grpc-port and --ray: replicas answer over HTTP alone; leave one of them out")
    if others.admin is not None or others.admin_grpc is not None:
        option = "--admin" if others.admin is not None else "--admin-grpc"
        raise UsageError(
            f"{option} and --ray: it would change one replica of several; serve with --watch, and change the bundle "
            "with atd add and atd remove"
        )
    if not port:
        raise UsageError("--port 0 and --ray: every machine's proxy listens on the same port; name one")
    from adaptertune_deploy.engines.options import gpu_index

    if gpu_index(device):
        raise UsageError(f"--device {device} and --ray: Ray gives each replica a GPU of its own; say --device cuda")
    return count


def serve(opening: Opening, bounds: Settings, log: LogOptions, replicas: int, host: str, port: int) -> None:
    """Serve until told to stop.

    Raises:
        AtdError: ray is not installed, the bundle is damaged, the cluster is too small, or a replica does not start.
    """
    deployment = _deployment()
    from adaptertune_deploy.cli.parts import tasks
    from adaptertune_deploy.serve.ray.replica import Plan

    def started(each: Share) -> None:
        what = f"{replicas} replicas" if replicas > 1 else "1 replica"
        cores = f"{each.cpus} cores" if each.cpus > 1 else "1 core"
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        gpu = " and a GPU" if each.gpus else ""
        console.print_line(f"serving {opening.bundle}/ by {what} of {cores}{gpu} each on {url}", copied=True)

    with interrupts.stoppable(lambda: "nothing was started"), tasks.reading(opening.bundle):
        opening.check()
    with interrupts.stoppable(lambda: "requests that were being answered were cut off"):
        console.print_note("starting Ray and the replicas")
        deployment.serve(Plan(opening, bounds, log), replicas, host, port, started)
    console.print_stopped(f"stopped; replicas had {bounds.drain_timeout:g} seconds to answer what they had accepted")


def _deployment() -> ModuleType:
    try:
        from adaptertune_deploy.serve.ray import deployment
    except ModuleNotFoundError as error:
        needed = "pip install 'adaptertune-deploy[ray]'"
        raise AtdError(f"--ray needs {error.name}, which is not installed; {needed}") from None
    return deployment
