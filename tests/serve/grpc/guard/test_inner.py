from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.serve.grpc.guard.inner import Inner, client_of


@pytest.fixture
def inner() -> Iterator[Inner]:
    found = Inner()
    yield found
    found.remove()
    assert not Path(found.path).parent.exists()


def test_its_folder_is_this_users_alone(inner: Inner) -> None:
    assert inner.where == f"unix:{inner.path}"
    assert stat.S_IMODE(os.stat(Path(inner.path).parent).st_mode) == 0o700


@pytest.mark.parametrize("client", ["10.0.0.7", "::1", "fe80::1%eth0", ""])
def test_the_other_end_is_told_who_the_client_is(inner: Inner, client: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(inner.path)
        listener.listen()
        with inner.connect(client) as near, inner.connect(client) as other:
            for end in (near, other):
                far, name = listener.accept()
                with far:
                    assert client_of(f"unix:{name}") == (client or "-")
                    far.sendall(b"x")
                    end.setblocking(True)
                    assert end.recv(1) == b"x"
        assert [path.name for path in Path(inner.path).parent.iterdir()] == ["grpc"]


def test_a_name_that_is_too_long_is_left_out(inner: Inner) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(inner.path)
        listener.listen()
        with inner.connect("x" * 100):
            far, name = listener.accept()
            far.close()
    assert client_of(f"unix:{name}") == "-"


def test_where_nobody_listens_that_is_an_error(inner: Inner) -> None:
    with pytest.raises(FileNotFoundError):
        inner.connect("10.0.0.7")


@pytest.mark.parametrize("place", ["nowhere", "x" * 90])
def test_a_folder_that_can_not_be_used_is_said(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / place
    if place != "nowhere":
        folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    with pytest.raises(UsageError, match="set TMPDIR to"):
        Inner()
    assert list(tmp_path.glob("*/*")) == []


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("unix:/tmp/atd-x/7-10.0.0.7", "10.0.0.7"),
        ("unix:/tmp/atd-x/12-::1", "::1"),
        ("unix:/tmp/atd-x/1-fe80::1%25eth0", "fe80::1%eth0"),
        ("unix:%2Ftmp%2Fatd-x%2F1-10.0.0.7", "10.0.0.7"),
        ("unix:/tmp/atd-x/3-", "-"),
        ("unix:/tmp/atd-x/grpc", "-"),
        ("unix:", "-"),
        ("ipv4:10.0.0.7:4711", "-"),
        ("", "-"),
    ],
)
def test_a_peer_is_its_client(peer: str, client: str) -> None:
    assert client_of(peer) == client
