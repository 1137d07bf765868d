from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Atd
from tests.cli.test_serve import Served

pytest.importorskip("grpc", reason="grpcio is not installed")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--admin-grpc", "8001"], "--admin-grpc 8001: expected HOST:PORT, such as"),
        (["--admin-grpc", "0.0.0.0:0"], "others than this machine reach this address; set ATD_ADMIN_TOKEN"),
        (["--admin-grpc", "127.0.0.1:70000"], "choose another with --host or --admin-grpc"),
        (["--grpc-port", "70000"], "choose another with --host or --grpc-port"),
    ],
)
def test_what_can_not_be_listened_on_is_said_before_anything_is_loaded(
    atd: Atd, arguments: list[str], text: str
) -> None:
    done = atd("serve", "--port", "0", "--bundle", "bundle", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert text in done.err


def test_each_listener_is_named_with_who_may_use_it(atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = Served(atd, monkeypatch).run("--grpc-port", "0", "--admin", "127.0.0.1:0", "--admin-grpc", "./a.sock")
    assert done.code == 0
    one, two, three, stopped = done.err.splitlines()
    assert re.fullmatch(r"note: gRPC on 127\.0\.0\.1:\d+(; this process has descriptors for .*)?", one)
    guard = "for everybody on this machine who reaches it"
    assert re.fullmatch(rf"note: tasks come and go on http://127\.0\.0\.1:\d+, {guard}", two)
    assert three == f"note: tasks come and go on unix:./a.sock, {guard}"
    assert stopped == "stopped; every accepted request was answered"
    assert not Path("a.sock").exists()


def test_few_descriptors_are_told_of(atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = Served(atd, monkeypatch).run("--grpc-port", "0", "--max-connections", "1000000")
    (line,) = [line for line in done.err.splitlines() if line.startswith("note: gRPC on")]
    assert re.search(r"; this process has descriptors for \d+ connections, raise them with: ulimit -n$", line)


def test_the_token_guards_grpc_too(atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATD_ADMIN_TOKEN", "a token")
    done = Served(atd, monkeypatch).run("--admin-grpc", "127.0.0.1:0")
    assert re.match(r"note: tasks come and go on 127\.0\.0\.1:\d+, for who has the token\n", done.err)
