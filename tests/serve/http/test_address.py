from __future__ import annotations

import socket

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.serve.http.address import bind


def test_a_bound_address_refuses_until_it_listens() -> None:
    with bind("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=10)
        listener.listen()
        socket.create_connection(address, timeout=10).close()


def test_an_address_in_use_is_one_clear_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"can't listen on 127.0.0.1:{port} .*choose another with --host or"):
            bind("127.0.0.1", port)


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70_000), ("no such host", 0)])
def test_an_impossible_address_is_one_clear_error(host: str, port: int) -> None:
    with pytest.raises(UsageError, match="can't listen on"):
        bind(host, port)


def test_accepted_connections_do_not_wait_for_full_packets() -> None:
    with bind("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
