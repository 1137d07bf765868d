from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.serve.listening.address import bind, bind_unix, is_loopback, overlap, release


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


def test_a_unix_socket_is_this_users_alone_and_goes_with_its_server(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    listener = bind_unix(str(path))
    assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0
    listener.listen()
    with pytest.raises(UsageError, match="another server listens there"):
        bind_unix(str(path))
    release(listener)
    assert not path.exists()
    release(listener)


def test_a_unix_socket_that_was_left_behind_is_replaced_and_a_file_is_not(tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    bind_unix(str(path)).close()
    assert path.exists()
    release(bind_unix(str(path)))
    path.write_text("a file")
    with pytest.raises(UsageError, match="there is a file of that name"):
        bind_unix(str(path))
    assert path.read_text() == "a file"
    with pytest.raises(UsageError, match=r"No such file or directory\); choose another path"):
        bind_unix(str(tmp_path / "nowhere" / "admin.sock"))


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("a.example", False)],
)
def test_who_can_reach_an_address(host: str, alone: bool) -> None:
    assert is_loopback(host) is alone


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "0.0.0.0", True),
        ("127.0.0.1", "::", True),
        ("0.0.0.0", "::", True),
        ("::1", "::", True),
        ("::1", "0:0:0:0:0:0:0:1", True),
        ("::1", "127.0.0.1", False),
        ("::1", "0.0.0.0", False),
        ("localhost", "127.0.0.1", True),
        ("no such host", "no such host", True),
        ("no such host", "0.0.0.0", False),
    ],
)
def test_two_hosts_may_be_one_place(one: str, other: str, same: bool) -> None:
    assert overlap(one, other) is overlap(other, one) is same
