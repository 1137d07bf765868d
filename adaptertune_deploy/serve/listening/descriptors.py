"""How a server shares the files that its process may have open."""

from __future__ import annotations

import contextlib
import resource

RESERVED = 64  # for files, the engine's devices, and connections that are being taken or let go of
NO_LIMIT = resource.RLIM_INFINITY
OF_GRPC = 3  # of a connection of gRPC's: the client's, and both ends of the one to the library
SHARE = 2  # gRPC's connections have one in so many of all descriptors; the others are HTTP's
A_CONNECTION = 1 + OF_GRPC * SHARE  # where both protocols may have one more


def raise_limit() -> None:
    """Let this process have as many files open as its hard limit says: the soft one is low for select() alone."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # macOS calls a limit infinite and refuses it
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def for_connections(wanted: int) -> int:
    """Return how many descriptors connections can have: `wanted`, or what the process's limit leaves."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if limit == NO_LIMIT else max(1, min(wanted, limit - RESERVED))


def for_files(wanted: int, connections: int) -> int:
    """Return how many files can be kept open beside so many connections: `wanted`, or what they leave."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if limit == NO_LIMIT else max(0, min(wanted, limit - RESERVED - A_CONNECTION * connections))
