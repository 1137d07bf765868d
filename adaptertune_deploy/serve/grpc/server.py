"""The gRPC servers: binding, limits, start and orderly end, beside the HTTP server on its event loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic

import grpc

from adaptertune_deploy.serve.grpc import departed
from adaptertune_deploy.serve.grpc.calls import Calls
from adaptertune_deploy.serve.grpc.guard.guard import Guard, capacity
from adaptertune_deploy.serve.grpc.guard.inner import Inner
from adaptertune_deploy.serve.grpc.methods import admin_calls, public_calls
from adaptertune_deploy.serve.listening.address import bind, bind_unix, release
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.settings import Settings

# A bit for each compression; gRPC checks a message's size before it is unpacked, so a client may send none.
PLAIN = 1
SHARE = 4  # of all calls that may be open one connection may have one in so many


class GrpcServer:
    """Answers from the service of an application; see companion.Companion.

    Attributes:
        port: TCP port; None for a Unix socket.
        changes: whether tasks are changed on it.
    """

    def __init__(
        self,
        service: Service,
        host: str,
        port: int | None,
        calls_of: Callable[[Service], Calls] = public_calls,
        option: str = "--grpc-port",
    ) -> None:
        """Prepare to listen.

        Args:
            service: answers.
            host: an address; without a port the path of a Unix socket.
            port: TCP port, 0 takes a free one; None for a Unix socket.
            calls_of: returns what takes the calls.
            option: by which a user chooses another place.
        """
        self.port = port
        self.changes = False
        self._service, self._host, self._option = service, host, option
        self._calls_of = calls_of
        self._calls: Calls | None = None
        self._running: tuple[Guard, grpc.aio.Server, Inner] | None = None

    @property
    def where(self) -> str:
        """The address, as a client of gRPC's is given it: HOST:PORT, or unix:PATH."""
        if self.port is None:
            return f"unix:{self._host}"
        return f"{f'[{self._host}]' if ':' in self._host else self._host}:{self.port}"

    @property
    def connections(self) -> int | None:
        """How many it takes at a time where descriptors allow fewer than --max-connections; else None."""
        wanted = self._service.settings.max_connections
        found = capacity(wanted)
        return found if found < wanted else None

    @property
    def pending(self) -> int:
        """Requests that are not answered."""
        return self._calls.pending if self._calls else 0

    async def start(self) -> None:
        """Listen; `port` then says where.

        Raises:
            UsageError: the address can't be used.
        """
        departed.hush()
        settings = self._service.settings
        listener = bind_unix(self._host) if self.port is None else bind(self._host, self.port, self._option)
        with ExitStack() as stack:
            stack.callback(release, listener)
            inner = Inner()
            stack.callback(inner.remove)
            self._calls = self._calls_of(self._service)
            server = grpc.aio.server(options=_options(settings))
            server.add_generic_rpc_handlers((self._calls,))
            server.add_insecure_port(inner.where)
            await server.start()
            stack.pop_all()
        guard = Guard(settings, streams_of(settings), inner, self._service.metrics.cut_off)
        guard.start(listener)
        self._running = guard, server, inner
        if self.port is not None:
            self.port = listener.getsockname()[1]

    async def stop(self, seconds: float) -> None:
        """Take no more calls, and return when all are answered; those that are not by then are cut off."""
        if self._running is None:
            return
        guard, server, inner = self._running
        until = monotonic() + seconds
        await guard.refuse()
        if self._calls is not None:
            self._calls.end_streams()
        await server.stop(max(0.0, until - monotonic()))
        await guard.close()
        inner.remove()


def admin_server(service: Service, host: str, port: int | None, token: str | None) -> GrpcServer:
    """Return the server on which tasks are changed; see admin_access.check_address for the address."""
    server = GrpcServer(service, host, port, lambda found: admin_calls(found, token), "--admin-grpc")
    server.changes = True
    return server


def streams_of(settings: Settings) -> int:
    """Return how many calls one connection may have open."""
    return max(1, settings.max_connections // SHARE)


def _options(settings: Settings) -> list[tuple[str, int]]:
    """Return the server's limits in gRPC's terms."""
    return [
        ("grpc.max_receive_message_length", settings.body_limit),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", settings.max_header_bytes),
        ("grpc.absolute_max_metadata_size", settings.max_header_bytes),
        ("grpc.max_concurrent_streams", streams_of(settings)),
        ("grpc.server_handshake_timeout_ms", round(settings.header_timeout * 1000)),
        ("grpc.max_connection_idle_ms", round(settings.keep_alive * 1000)),
        ("grpc.keepalive_time_ms", round(settings.keep_alive * 1000)),
        ("grpc.keepalive_timeout_ms", round(settings.answer_timeout * 1000)),
        ("grpc.compression_enabled_algorithms_bitset", PLAIN),
    ]
