"""The gRPC server: binding, limits, start and orderly end, beside the HTTP server on its event loop."""

from __future__ import annotations

import grpc

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.serve.grpc.inference import Inference
from adaptertune_deploy.serve.grpc.methods import HEALTH, SERVICE, handlers, health_handlers
from adaptertune_deploy.serve.service import Service
from adaptertune_deploy.serve.settings import Settings

# A bit for each compression; gRPC checks a message's size before it is unpacked, so a client may send none.
PLAIN = 1


class GrpcServer:
    """Answers from the service of an application; see companion.Companion."""

    def __init__(self, service: Service, host: str, port: int) -> None:
        """Prepare to listen on an address; port 0 takes a free one."""
        self.port = port
        self._service = service
        self._host = host
        self._inference: Inference | None = None
        self._server: grpc.aio.Server | None = None

    @property
    def pending(self) -> int:
        """Requests that are not answered."""
        return self._inference.pending if self._inference else 0

    async def start(self) -> None:
        """Listen; `port` then says where.

        Raises:
            UsageError: the address can't be used.
        """
        settings = self._service.settings
        self._inference = Inference(self._service)
        server = grpc.aio.server(options=_options(settings), maximum_concurrent_rpcs=settings.max_connections)
        methods = {**handlers(self._service), **self._inference.handlers()}
        server.add_generic_rpc_handlers(
            (
                grpc.method_handlers_generic_handler(SERVICE, methods),
                grpc.method_handlers_generic_handler(HEALTH, health_handlers(self._service)),
            )
        )
        host = f"[{self._host}]" if ":" in self._host else self._host
        try:
            self.port = server.add_insecure_port(f"{host}:{self.port}")
        except RuntimeError:
            raise UsageError(f"can't listen on {host}:{self.port}; choose another with --host or --grpc-port") from None
        await server.start()
        self._server = server

    async def stop(self, seconds: float) -> None:
        """Take no more calls, and return when all are answered; those that are not by then are cut off."""
        if self._server is not None:
            await self._server.stop(seconds)


def _options(settings: Settings) -> list[tuple[str, int]]:
    """Return the server's limits in gRPC's terms."""
    return [
        ("grpc.so_reuseport", 0),  # a port that somebody else listens on is an error
        ("grpc.max_receive_message_length", settings.body_limit),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", settings.max_header_bytes),
        ("grpc.max_concurrent_streams", settings.max_connections),
        ("grpc.max_connection_idle_ms", round(settings.keep_alive * 1000)),
        ("grpc.keepalive_time_ms", round(settings.keep_alive * 1000)),
        ("grpc.keepalive_timeout_ms", round(settings.answer_timeout * 1000)),
        ("grpc.compression_enabled_algorithms_bitset", PLAIN),
    ]
