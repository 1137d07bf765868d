"""atd serve: many tasks over HTTP and gRPC from one backbone."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adaptertune_deploy.cli.parts import engines, limits, listeners, on_ray, options, tuned
from adaptertune_deploy.cli.parts.options import DATA, OUTPUT, PLACES, flag, value
from adaptertune_deploy.cli.terminal import completion, console, interrupts
from adaptertune_deploy.serve.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from adaptertune_deploy.engines.options import EngineOptions
    from adaptertune_deploy.serve.opening import Opening
    from adaptertune_deploy.serve.service import Service
    from adaptertune_deploy.serve.sessions.room import Room
    from adaptertune_deploy.serve.sessions.session import Session

LogFormat = Annotated[
    str,
    value(
        "--log-format",
        "NAME",
        OUTPUT,
        "Of the log, on standard error: text or json.",
        complete=completion.log_formats,
        variable="ATD_LOG_FORMAT",
    ),
]
LogLevel = Annotated[
    str,
    value(
        "--log-level",
        "NAME",
        OUTPUT,
        "Least level of its lines: debug, info, warning or error.",
        complete=completion.log_levels,
        variable="ATD_LOG_LEVEL",
    ),
]
AccessLog = Annotated[bool, flag("--access-log", OUTPUT, "A line of log for every request.", variable="ATD_ACCESS_LOG")]
Follow = Annotated[bool, flag("--watch", DATA, "Follow the bundle: what atd add changes there is served at once.")]
Pinned = Annotated[
    str | None, value("--pin", "NAMES", DATA, "Tasks that keep their slots, with commas; see --slots.", "none")
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict/--lenient",
        help="Whether a task that is damaged or answers wrongly stops the start, or is left out with a note.",
        show_default="--strict",
        rich_help_panel=DATA,
    ),
]


@limits.with_limits
def serve(
    ctx: typer.Context,
    bounds: Settings,
    adapters: options.ServedTasks = None,
    bundle: options.Bundle = Path("bundle"),
    host: Annotated[str, value("--host", "ADDRESS", PLACES, "Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, value("--port", "N", PLACES, "TCP port; 0 takes a free one.")] = 8000,
    grpc_port: listeners.GrpcPort = None,
    admin: listeners.AdminHttp = None,
    admin_grpc: listeners.AdminGrpc = None,
    watch: Follow = False,
    pin: Pinned = None,
    strict: Strict = True,
    form: options.Form = "auto",
    engine: engines.Engine = "onnxruntime",
    device: engines.Device = "auto",
    precision: engines.Precision = "fp32",
    threads: options.Threads = 0,
    settings: engines.Settings = None,
    no_tuning: tuned.NoTuning = False,
    ray: on_ray.OnRay = False,
    replicas: on_ray.Replicas = None,
    log_format: LogFormat = "text",
    log_level: LogLevel = "info",
    access_log: AccessLog = False,
    verbose: Annotated[bool, flag("--verbose", OUTPUT, "Say at the start which limits hold.")] = False,
) -> None:
    """Serve tasks over HTTP and gRPC: POST /v1/predict, and the Open Inference Protocol v2 for tritonclient and KServe.

    Where atd tune has measured this bundle on this machine, engine, precision, threads and --max-batch are its choice,
    unless they are given. Else batches get as large as pays: the start times a few, and takes the smallest that has
    hardly fewer images a second than the best.

    SIGHUP makes a server that no terminal started read its bundle again, as --watch does by itself.

    \b
    atd serve --adapters pets,flowers
    curl --data-binary @cat.jpg 'localhost:8000/v1/predict?tasks=pets'
    atd serve --watch                       what atd add changes in bundle/ is served at once
    atd serve --admin 127.0.0.1:8002        tasks come and go by: atd add, atd remove --server
    atd serve --ray --replicas 4 --watch    on as many cores or machines as Ray has
    """
    from adaptertune_deploy.cli.parts import tasks
    from adaptertune_deploy.serve.listening import descriptors
    from adaptertune_deploy.serve.listening.address import bind
    from adaptertune_deploy.serve.logs.setup import LogOptions, logging_to_stderr
    from adaptertune_deploy.serve.sessions.room import Room

    hangup_reloads = not ray and not _has_terminal()
    hung_up = ctx.with_resource(interrupts.hangups_noted(hangup_reloads))
    options.check_form(form)
    log = LogOptions(log_format, log_level, access_log)
    places = listeners.Listeners(host, grpc_port, admin, admin_grpc)
    count = on_ray.checked(ray, replicas, port, places, device)
    asked = engines.asked(engine, device, settings, precision, threads)
    names = tasks.served(bundle, adapters)
    threads_typed = tuned.given(ctx, "threads")
    room = Room(bounds.slots, frozenset(name.strip() for name in (pin or "").split(",") if name.strip()))
    if count:
        asked = engines.for_instances(asked, bounds.instances, threads_typed)
        bind(host, port).close()
        on_ray.serve(
            _opening(bundle.resolve(), names, form, asked, strict, watch, room), bounds, log, count, host, port
        )
        return
    asked, bounds = (asked, bounds) if no_tuning else tuned.follow(ctx, bundle, form, asked, bounds)
    asked = engines.for_instances(asked, bounds.instances, threads_typed)
    # What can't be used is found before a graph is loaded.
    places.check(port)
    descriptors.raise_limit()
    from adaptertune_deploy.serve.http.app import make_app
    from adaptertune_deploy.serve.http.server import serve as run_server

    with places.http_admin() as changed_on, logging_to_stderr(log):
        with interrupts.stoppable(lambda: "no request was accepted"), tasks.reading(bundle):
            opened = _opening(bundle, names, form, asked, strict, watch, room).open()
        session = opened.session
        for name, error in opened.source.left_out.items():
            console.print_note(f"{name} is left out: {error}")
        app = make_app(session, bounds, opened.told, opened.source)
        companions = places.grpc(app.state.service)
        served = app.state.service.tasks.current.names
        start = _Start(bundle, session, served, bounds, partial(places.announce, changed_on, companions), verbose)
        started = partial(_started, start, hung_up, app.state.service)
        try:
            with interrupts.stoppable(lambda: "requests that were being answered were cut off"):
                run_server(app, host, port, started, companions, changed_on, hangup_reloads)
        finally:
            session.close()
    console.print_stopped("stopped; every accepted request was answered")


def _started(start: _Start, hung_up: Callable[[], bool], service: Service, at: str, number: int) -> None:
    """Say where the server is; a hangup while it opened its bundle may tell of a change that was not read any more."""
    start.announce(at, number)
    if hung_up():
        service.reload()


def _opening(
    bundle: Path, names: list[str] | None, form: str, asked: EngineOptions, strict: bool, watch: bool, room: Room
) -> Opening:
    """Return what is to be served; images to try lie where the adapters do, if they are here."""
    from adaptertune_deploy.cli.terminal import next as following
    from adaptertune_deploy.serve.opening import Opening

    named = None if names is None else tuple(names)
    return Opening(bundle, named, form, asked, strict, watch, bundle.parent / following.ADAPTERS, room=room)


@dataclass(frozen=True)
class _Start:
    """What a server says of itself when it listens."""

    bundle: Path
    session: Session
    names: tuple[str, ...]
    bounds: Settings
    announce_others: Callable[[], None]
    verbose: bool

    def announce(self, at: str, number: int) -> None:
        """Print where it is, what it answers, and what an operator should know."""
        from adaptertune_deploy.serve.listening.address import is_loopback

        session, names = self.session, list(self.names)
        url = f"http://{f'[{at}]' if ':' in at else at}:{number}"
        what = f"{', '.join(names)} from {self.bundle}/ ({session.form} form, {session.engine.words})"
        console.print_line(f"serving {what} on {url}", copied=True)
        if not is_loopback(at):
            console.print_note(f"there is no authentication: everybody who reaches port {number} can ask")
        self.announce_others()
        if len(session.tasks) < len(names):
            console.print_note(
                f"{len(session.tasks)} of {len(names)} tasks have a slot, the others come when asked for"
            )
        self._say_limits()
        if self.verbose:
            for line in limits.lines(self.bounds):
                console.print_note(line)
        _print_request(self.bundle, names, url)

    def _say_limits(self) -> None:
        """Say which limits can't hold here."""
        from adaptertune_deploy.serve.listening.descriptors import for_connections

        batch, runs = self.bounds.max_batch, self.session.engine
        most = runs.limits.max_rows
        if batch is not None and not runs.limits.takes(batch):
            console.print_note(
                f"--max-batch {batch}: {runs.engine} takes {most} rows of one run, so batches have {most}"
            )
        connections = self.bounds.max_connections
        room = for_connections(connections)
        if room < connections:
            wanted = f"--max-connections {connections}"
            console.print_note(f"{wanted}: this process has descriptors for {room}; raise them with: ulimit -n")


def _has_terminal() -> bool:
    """Return whether a terminal started this process, whose end SIGHUP then tells."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


def _print_request(bundle: Path, names: list[str], url: str) -> None:
    """Print a request to try: about a held-back image when the adapters lie beside the bundle."""
    from adaptertune_deploy.cli.terminal import next as following

    def request(image: object) -> str:
        return following.command("curl", "--data-binary", f"@{image}", f"{url}/v1/predict?tasks={','.join(names)}")

    images = (following.sample_image(bundle.parent / following.ADAPTERS / name) for name in names)
    image = next((image for image in images if image is not None), None)
    if image is not None:
        console.print_next(request(image))
    else:
        console.print_line(f"ask about an image of yours: {request('IMAGE')}", copied=True)
