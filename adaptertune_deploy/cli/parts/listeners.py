"""Where a server listens besides HTTP: gRPC, and the addresses on which its tasks are changed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from adaptertune_deploy.cli.parts.options import PLACES, value
from adaptertune_deploy.cli.terminal import console
from adaptertune_deploy.core.errors import AtdError, UsageError

if TYPE_CHECKING:
    from adaptertune_deploy.serve.grpc.server import GrpcServer
    from adaptertune_deploy.serve.http.admin import Admin
    from adaptertune_deploy.serve.listening.admin_access import AdminAddress
    from adaptertune_deploy.serve.service import Service

GrpcPort = Annotated[
    int | None, value("--grpc-port", "N", PLACES, "Listen for gRPC too, on this TCP port; 0 takes a free one.")
]
AdminHttp = Annotated[
    str | None,
    value(
        "--admin",
        "ADDRESS",
        PLACES,
        "HOST:PORT or path of a Unix socket on which tasks are loaded and unloaded; token: $ATD_ADMIN_TOKEN.",
        "nowhere",
        variable="ATD_ADMIN",
    ),
]
AdminGrpc = Annotated[
    str | None,
    value(
        "--admin-grpc",
        "ADDRESS",
        PLACES,
        "Another such address, over gRPC, under the same token.",
        "nowhere",
        variable="ATD_ADMIN_GRPC",
    ),
]


@dataclass(frozen=True)
class Listeners:
    """The addresses that a user asked for; None for none. host: that of HTTP, and of gRPC."""

    host: str
    grpc_port: int | None
    admin: str | None
    admin_grpc: str | None

    def check(self, port: int) -> None:
        """Find what can't be listened on before a graph is loaded; `port` is HTTP's.

        Raises:
            UsageError: an address that can't be used, or two that are one.
            AtdError: the library of gRPC is not installed.
        """
        from adaptertune_deploy.serve.listening.address import bind

        self._check_apart(port)
        bind(self.host, port).close()
        if self.grpc_port is not None:
            _grpc("--grpc-port")
            bind(self.host, self.grpc_port, "--grpc-port").close()
        if self.admin_grpc is not None:
            _grpc("--admin-grpc")
            place, number = self._admin_grpc(self.admin_grpc)
            if number is not None:
                bind(place, number, "--admin-grpc").close()

    @contextmanager
    def http_admin(self) -> Iterator[Admin | None]:
        """Hold the admin listener, where one is asked for."""
        from adaptertune_deploy.serve.http.admin import bind_admin
        from adaptertune_deploy.serve.listening.address import release

        if self.admin is None:
            yield None
            return
        bound = bind_admin(self.admin, _token())
        try:
            yield bound
        finally:
            release(bound.listener)

    def grpc(self, service: Service) -> list[GrpcServer]:
        """Return the servers that speak gRPC."""
        found = []
        if self.grpc_port is not None:
            found.append(_grpc("--grpc-port")(service, self.host, self.grpc_port))
        if self.admin_grpc is not None:
            from adaptertune_deploy.serve.grpc.server import admin_server

            found.append(admin_server(service, *self._admin_grpc(self.admin_grpc), _token()))
        return found

    def announce(self, admin: Admin | None, servers: list[GrpcServer]) -> None:
        """Say where they are, and who may use them."""
        changed = [admin.where] if admin is not None else []
        for server in servers:
            if server.changes:
                changed.append(server.where)
            else:
                console.print_note(f"gRPC on {server.where}{_few(server.connections)}")
        guard = "for who has the token" if _token() else "for everybody on this machine who reaches it"
        for where in changed:
            console.print_note(f"tasks come and go on {where}, {guard}")

    def _check_apart(self, port: int) -> None:
        """Raise UsageError where two places are one."""
        from adaptertune_deploy.serve.listening.address import overlap

        for (one, a), (other, b) in itertools.combinations(self._places(port), 2):
            if a.port is None and b.port is None:
                same = os.path.realpath(a.host) == os.path.realpath(b.host)
            else:
                same = a.port == b.port != 0 and overlap(a.host, b.host)
            if same:
                raise UsageError(f"{one} and {other}: expected two places, these are one; change one of them")

    def _places(self, port: int) -> list[tuple[str, AdminAddress]]:
        """Return where it is to listen, each with the option that says so."""
        from adaptertune_deploy.serve.listening.admin_access import AdminAddress, check_address

        found = [(f"--port {port}", AdminAddress(self.host, port))]
        if self.grpc_port is not None:
            found.append((f"--grpc-port {self.grpc_port}", AdminAddress(self.host, self.grpc_port)))
        for option, where in (("--admin", self.admin), ("--admin-grpc", self.admin_grpc)):
            if where is not None:
                found.append((f"{option} {where}", check_address(where, _token(), option)))
        return found

    def _admin_grpc(self, where: str) -> tuple[str, int | None]:
        from adaptertune_deploy.serve.listening.admin_access import check_address

        address = check_address(where, _token(), "--admin-grpc")
        return address.host, address.port


def _few(connections: int | None) -> str:
    if connections is None:
        return ""
    return f"; this process has descriptors for {connections} connections, raise them with: ulimit -n"


def _token() -> str | None:
    from adaptertune_deploy.serve.listening.admin_access import TOKEN

    return os.environ.get(TOKEN)


def _grpc(option: str) -> type[GrpcServer]:
    """Return the gRPC server, whose library is an extra."""
    # Its own log has a line for every call that it refuses, as many as clients like.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from adaptertune_deploy.serve.grpc.server import GrpcServer
    except ModuleNotFoundError as error:
        needed = "pip install 'adaptertune-deploy[grpc]'"
        raise AtdError(f"{option} needs {error.name}, which is not installed; {needed}") from None
    return GrpcServer
