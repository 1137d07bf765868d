"""The address that a server listens on."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import socket
import stat

from adaptertune_deploy.core.errors import UsageError


def bind(host: str, port: int, option: str = "--port") -> socket.socket:
    """Return a listening-ready TCP socket.

    Args:
        host: address.
        port: 0 takes a free one.
        option: by which a user chooses another port.

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


def bind_unix(path: str) -> socket.socket:
    """Return a listening-ready Unix socket that this user alone may connect to.

    A socket that a server left behind that was killed is replaced; one that somebody listens on is not.

    Raises:
        UsageError: in use, not a socket, or not a place that can be written.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        before = os.umask(0o177)
        try:
            listener.bind(path)
        finally:
            os.umask(before)
    except OSError as error:
        listener.close()
        raise UsageError(f"can't listen on {path} ({error.strerror or error}); choose another path") from None
    return listener


def release(listener: socket.socket) -> None:
    """Close a socket, and remove the file of a Unix socket."""
    path = listener.getsockname() if listener.family == socket.AF_UNIX and listener.fileno() >= 0 else None
    listener.close()
    if path:
        with contextlib.suppress(OSError):
            os.unlink(path)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address; a name counts as reachable by others."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def overlap(one: str, other: str) -> bool:
    """Return whether a connection could be meant for either of two hosts; IPv6's wildcard stands for IPv4 too."""
    first, second = _ip(one), _ip(other)
    if first is None or second is None:
        return one == other
    if first == second:
        return True
    wildcards = [each for each in (first, second) if each.is_unspecified]
    return any(each.version == 6 or first.version == second.version for each in wildcards)


def _ip(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return what a host is bound as; None for a name that nobody knows."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host)
    with contextlib.suppress(OSError, UnicodeError):
        return ipaddress.ip_address(socket.gethostbyname(host))
    return None


def _remove_stale(path: str) -> None:
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(os.lstat(path).st_mode):
        raise OSError("there is a file of that name")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise OSError("another server listens there")
