"""Who may change a server's tasks: whoever reaches the admin listener, and knows its token where it has one."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.serve.listening.address import is_loopback

TOKEN = "ATD_ADMIN_TOKEN"
NEEDED = "send the server's token as 'Authorization: Bearer TOKEN'"


@dataclass(frozen=True)
class AdminAddress:
    """An address that is safe to listen on.

    host: of a TCP address; of a Unix socket its path.
    port: of a TCP address; None for a Unix socket.
    """

    host: str
    port: int | None = None


def check_address(where: str, token: str | None, option: str = "--admin") -> AdminAddress:
    """Return the address that a user named.

    Args:
        where: HOST:PORT, or the path of a Unix socket, which has a "/" in it.
        token: which requests must have; None for none.
        option: by which it was named.

    Raises:
        UsageError: no address, one that others than this machine reach though there is no token, or a token that no
            header can hold.
    """
    if token is not None and (not token.isascii() or not token.isprintable() or not token.strip()):
        raise UsageError(f"{TOKEN}: expected printable ASCII characters")
    if "/" in where:
        return AdminAddress(where)
    host, _, port = where.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal():
        raise UsageError(f"{option} {where}: expected HOST:PORT, such as 127.0.0.1:8002, or the path of a Unix socket")
    if token is None and not is_loopback(host):
        raise UsageError(
            f"{option} {where}: others than this machine reach this address; set {TOKEN}, or listen on 127.0.0.1"
        )
    return AdminAddress(host, int(port[:6]))


def lets_in(token: str | None, given: Sequence[bytes]) -> bool:
    """Return whether a request may pass.

    Args:
        token: the listener's; None lets everybody pass.
        given: the values of its headers, or metadata, `authorization`.
    """
    if token is None:
        return True
    scheme, _, secret = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
    return scheme.lower() == b"bearer" and hmac.compare_digest(secret, token.encode())
