"""Running the application on uvicorn: binding, start, orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from functools import partial
from time import monotonic
from types import FrameType

import uvicorn
from starlette.applications import Starlette

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.serve.companion import Companion
from adaptertune_deploy.serve.http import last_words
from adaptertune_deploy.serve.http.admin import Admin
from adaptertune_deploy.serve.http.exchange import UNKNOWN
from adaptertune_deploy.serve.http.wire.connection import Connection
from adaptertune_deploy.serve.http.wire.listener import Arrivals, listen
from adaptertune_deploy.serve.http.wire.phase import Phase
from adaptertune_deploy.serve.http.wire.uvicorn_config import uvicorn_config
from adaptertune_deploy.serve.http.wire.watch import Watch
from adaptertune_deploy.serve.listening.address import bind
from adaptertune_deploy.serve.logs.readiness import ReadinessLog
from adaptertune_deploy.serve.service import Service

URGENT = (signal.SIGINT, signal.SIGTERM)
SIGNALS = (*URGENT, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
TICK_S = 0.02
MARGIN_S = 1.0  # after the drain timeout, for answering that it has passed


class Server(uvicorn.Server):
    """uvicorn that says "not ready" as soon as it is told to stop, and ends with exit code 0."""

    def __init__(
        self,
        app: Starlette,
        on_started: Callable[[], None],
        companions: Sequence[Companion] = (),
        admin: Admin | None = None,
        hangup_reloads: bool = False,
    ) -> None:
        """Prepare a server for an application of app.make_app; see serve for the rest."""
        self._served = app
        self.service: Service = app.state.service
        self._companions, self._admin, self._hangup_reloads = companions, admin, hangup_reloads
        self._on_started = on_started
        self.unanswered = 0
        self._stop_at: float | None = None
        self._readiness = ReadinessLog()
        self._end: threading.Timer | None = None
        metrics = self.service.metrics
        self.watch = Watch(self.service.settings, lambda status: metrics.responded(UNKNOWN, status))
        metrics.show_each(
            "atd_connections",
            "Open connections, by what they wait for",
            "phase",
            lambda: {phase.value: self.watch.count(phase) for phase in Phase},
        )
        self._arrivals: list[Arrivals] = []
        self._tasks: list[asyncio.Task[None]] = []
        super().__init__(uvicorn_config(app, self.service.settings))

    def stop(self, delay: float = 0.0) -> None:
        """Say "not ready" at once and end after so many seconds, when every accepted request is answered.

        May be called from any thread and from a signal handler.
        """
        self.service.draining = True
        if self._stop_at is None:
            self._stop_at = monotonic() + delay

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections, then tell the caller; where that fails, end what had begun.

        Raises:
            UsageError: an address can't be used.
        """
        await super().startup([])
        try:
            await self._listen(sockets or [])
            if self.started:
                self._on_started()
        except BaseException:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*(companion.stop(0) for companion in self._companions))
            await self.lifespan.shutdown()
            raise

    async def _listen(self, sockets: Sequence[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        places = [(listener, self.config) for listener in sockets]
        if self._admin is not None:
            config = uvicorn_config(self._admin.make_app(self._served), self.service.settings, lifespan="off")
            config.load()
            places.append((self._admin.listener, config))
        for listener, _ in places:
            listen(listener)
        self._arrivals = [Arrivals(place, self.watch, partial(self._connection, config)) for place, config in places]
        work = (*(arrivals.take() for arrivals in self._arrivals), self.watch.sweep())
        self._tasks = [loop.create_task(part) for part in work]
        for companion in self._companions if self.started else ():
            await companion.start()

    def _connection(self, config: uvicorn.Config) -> Connection:
        loop = asyncio.get_running_loop()
        return Connection(config, self.server_state, self.lifespan.state, loop, self.watch)

    async def on_tick(self, counter: int) -> bool:
        """Decide, ten times a second, whether to end."""
        reason = self.service.not_ready
        self._readiness.note(reason, ill=reason == self.service.batcher.health.problem)
        if self.service.draining:
            # What idles may be a proxy's, which sends more over it until it has noticed: closed when the delay is over.
            self.watch.draining = True
        if self.service.batcher.failure is not None:
            return True
        if self._stop_at is not None and monotonic() >= self._stop_at:
            return True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, then end as uvicorn does; what takes too long is ended until then too."""
        self.watch.draining = True
        *taking, _ = self._tasks
        for arrivals in self._arrivals:
            arrivals.end()
        await asyncio.gather(*taking, return_exceptions=True)
        self._close_idle(self.watch.fresh())
        seconds = self.service.settings.drain_timeout
        ending = [asyncio.ensure_future(companion.stop(seconds + MARGIN_S)) for companion in self._companions]
        await self._until_answered(monotonic() + seconds)
        self.unanswered = self._pending()
        if self.unanswered:
            self.service.abandon()
            await self._until_answered(monotonic() + MARGIN_S)
        await asyncio.gather(*ending)
        self._close_idle()
        self.watch.abort_all()
        await super().shutdown(sockets)
        self._tasks[-1].cancel()

    def _close_idle(self, spared: Collection[object] = ()) -> None:
        """Close each connection once it owes no answer, but some that are waited for."""
        for connection in list(self.server_state.connections):
            if connection not in spared:
                connection.shutdown()

    def _pending(self) -> int:
        """Return how many requests are not answered."""
        return len(self.server_state.tasks) + sum(companion.pending for companion in self._companions)

    async def _until_answered(self, until: float) -> None:
        await asyncio.sleep(TICK_S)  # what has come and is not read yet is a request too
        while (self._pending() or self.watch.unsent() or self.watch.fresh()) and monotonic() < until:
            await asyncio.sleep(TICK_S)

    def serve_on(self, listener: socket.socket) -> None:
        """Serve until told to stop.

        Raises:
            EngineError: the application did not start, or the engine failed its first run.
        """
        with contextlib.suppress(SystemExit):  # how some releases of uvicorn end when the application did not start
            self.run(sockets=[listener])
        if not self.started:
            raise EngineError("the server did not start; its log says why")
        failure = self.service.batcher.failure
        if failure is not None:
            raise EngineError(f"the engine failed its first run: {failure}")
        if self.unanswered:
            seconds = self.service.settings.drain_timeout
            what = "request was" if self.unanswered == 1 else "requests were"
            raise EngineError(f"{self.unanswered} {what} not finished within {seconds:g} seconds and got status 503")

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Handle SIGINT, SIGTERM and SIGHUP while serving; uvicorn's own version would raise them again at the end.

        A signal that the caller ignores, as nohup does with SIGHUP, stays ignored.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._on_signal) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            # A run that hangs keeps the interpreter from ending; the timer then does it.
            if self._end is not None and not self.unanswered:
                self._end.cancel()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if number not in URGENT and self._hangup_reloads:
            asyncio.get_running_loop().call_soon_threadsafe(self.service.reload)
            return
        # A terminal that closes may say so more than once, and means no hurry by it.
        if self._stop_at is not None and number in URGENT:
            last_words.end(128 + number)
        settings = self.service.settings
        # Who presses Ctrl-C has no load balancer that must look away first.
        delay = settings.drain_delay if number == signal.SIGTERM else 0.0
        self.stop(delay)
        if self._end is None:
            wait = delay + settings.drain_timeout + 2 * MARGIN_S
            within = f"within {settings.drain_timeout:g} seconds"
            words = f"error: the engine did not finish {within}; unfinished requests are given up\n"
            self._end = threading.Timer(wait, last_words.end, [1, words])
            self._end.daemon = True
            self._end.start()


def serve(
    app: Starlette,
    host: str = "127.0.0.1",
    port: int = 8000,
    on_started: Callable[[str, int], None] = lambda host, port: None,
    companions: Sequence[Companion] = (),
    admin: Admin | None = None,
    hangup_reloads: bool = False,
) -> None:
    """Serve until SIGTERM, SIGINT or SIGHUP; returns when every accepted request is answered.

    A second SIGTERM or SIGINT ends the process at once, with exit code 128 + its number; an engine that does not finish
    within the drain timeout ends it with 1.

    Args:
        app: see app.make_app.
        host: address to listen on.
        port: TCP port; 0 takes a free one.
        on_started: called with the host and the port once the server listens (it may still be warming up).
        companions: other ways in to the application's service; they start and end with the server.
        admin: where tasks are changed; its socket is closed with the server's.
        hangup_reloads: SIGHUP reads the bundle again, in place of ending the server.

    Raises:
        UsageError: the address can't be used.
        EngineError: the application did not start, the engine failed its first run, or requests were left unfinished
            when the drain timeout had passed.
    """
    listener = bind(host, port)
    try:
        started = partial(on_started, host, listener.getsockname()[1])
        Server(app, started, companions, admin, hangup_reloads).serve_on(listener)
    finally:
        listener.close()


@contextlib.contextmanager
def serving(
    app: Starlette,
    host: str = "127.0.0.1",
    port: int = 0,
    companions: Sequence[Companion] = (),
    admin: Admin | None = None,
) -> Iterator[str]:
    """Serve in a background thread for the length of a `with` block; yields the server's URL.

    The server listens when the block begins; GET /v2/health/ready tells when it is warm.

    Raises:
        UsageError: the address can't be used.
        EngineError: the application did not start, or, after the block, the engine failed its first run.
    """
    listener = bind(host, port)
    settled = threading.Event()
    server = Server(app, settled.set, companions, admin)
    errors: list[EngineError] = []

    def run() -> None:
        try:
            server.serve_on(listener)
        except EngineError as error:
            errors.append(error)
        finally:
            settled.set()

    thread = threading.Thread(target=run, name="server")
    thread.start()
    try:
        settled.wait()
        if errors:
            raise errors[0]
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        server.stop()
        thread.join()
        listener.close()
    if errors:
        raise errors[0]
