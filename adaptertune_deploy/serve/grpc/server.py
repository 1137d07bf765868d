"""The gRPC servers: binding, limits, start and orderly end, beside the HTTP server on its event loop."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable

import grpc

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.serve.grpc.calls import Calls
from adaptertune_deploy.serve.grpc.methods import admin_calls, public_calls
from adaptertune_deploy.serve.http.wire.address import bind_unix, release
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
        self._server: grpc.aio.Server | None = None

    @property
    def where(self) -> str:
        """The address, as a client of gRPC's is given it: HOST:PORT, or unix:PATH."""
        if self.port is None:
            return f"unix:{self._host}"
        return f"{f'[{self._host}]' if ':' in self._host else self._host}:{self.port}"

    @property
    def pending(self) -> int:
        """Requests that are not answered."""
        return self._calls.pending if self._calls else 0

    async def start(self) -> None:
        """Listen; `port` then says where.

        Raises:
            UsageError: the address can't be used.
        """
        self._calls = self._calls_of(self._service)
        server = grpc.aio.server(options=_options(self._service.settings))
        server.add_generic_rpc_handlers((self._calls,))
        try:
            if self.port is None:
                _add_unix(server, self._host)
            else:
                self.port = server.add_insecure_port(self.where)
        except RuntimeError:
            raise UsageError(f"can't listen on {self.where}; choose another with --host or {self._option}") from None
        await server.start()
        self._server = server

    async def stop(self, seconds: float) -> None:
        """Take no more calls, and return when all are answered; those that are not by then are cut off."""
        if self._server is not None:
            await self._server.stop(seconds)
        if self._server is not None and self.port is None:
            with contextlib.suppress(OSError):
                os.unlink(self._host)


def admin_server(service: Service, host: str, port: int | None, token: str | None) -> GrpcServer:
    """Return the server on which tasks are changed; see admin_access.check_address for the address."""
    server = GrpcServer(service, host, port, lambda found: admin_calls(found, token), "--admin-grpc")
    server.changes = True
    return server


def _add_unix(server: grpc.aio.Server, path: str) -> None:
    """Listen on a Unix socket that this user alone may connect to; gRPC itself would take over anybody's."""
    release(bind_unix(path))
    before = os.umask(0o177)
    try:
        server.add_insecure_port(f"unix:{path}")
    finally:
        os.umask(before)


def _options(settings: Settings) -> list[tuple[str, int]]:
    """Return the server's limits in gRPC's terms."""
    return [
        ("grpc.so_reuseport", 0),  # a port that somebody else listens on is an error
        ("grpc.max_receive_message_length", settings.body_limit),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", settings.max_header_bytes),
        ("grpc.absolute_max_metadata_size", settings.max_header_bytes),
        ("grpc.max_allowed_incoming_connections", settings.max_connections),
        ("grpc.max_concurrent_streams", max(1, settings.max_connections // SHARE)),
        ("grpc.server_handshake_timeout_ms", round(settings.header_timeout * 1000)),
        ("grpc.max_connection_idle_ms", round(settings.keep_alive * 1000)),
        ("grpc.keepalive_time_ms", round(settings.keep_alive * 1000)),
        ("grpc.keepalive_timeout_ms", round(settings.answer_timeout * 1000)),
        ("grpc.compression_enabled_algorithms_bitset", PLAIN),
    ]
