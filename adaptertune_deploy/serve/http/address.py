"""The address that a server listens on."""

from __future__ import annotations

import socket

from adaptertune_deploy.core.errors import UsageError


def bind(host: str, port: int, option: str = "--port") -> socket.socket:
    """Return a listening-ready TCP socket; `option` is where its port comes from.

    Raises:
        UsageError: no such address here, not allowed, or in use.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Only for a socket that names TCP does asyncio turn Nagle's delay off, which costs 40 ms an answer.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else "a port lies between 0 and 65535"
        raise UsageError(f"can't listen on {host}:{port} ({reason}); choose another with --host or {option}") from None
    return listener
