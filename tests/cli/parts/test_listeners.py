from __future__ import annotations

import re
from pathlib import Path

import pytest

from adaptertune_deploy.cli.parts.listeners import Listeners
from adaptertune_deploy.serve.listening.address import bind
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


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("--port 8000 --admin 127.0.0.1:8000", "--port 8000 and --admin 127.0.0.1:8000"),
        ("--host 0.0.0.0 --admin localhost:8000", "--port 8000 and --admin localhost:8000"),
        ("--port 8005 --grpc-port 8005", "--port 8005 and --grpc-port 8005"),
        ("--grpc-port 8005 --admin-grpc 127.0.0.1:8005", "--grpc-port 8005 and --admin-grpc 127.0.0.1:8005"),
        ("--admin [::1]:8005 --admin-grpc [::1]:8005", "--admin [::1]:8005 and --admin-grpc [::1]:8005"),
        ("--admin ./a.sock --admin-grpc bundle/../a.sock", "--admin ./a.sock and --admin-grpc bundle/../a.sock"),
    ],
)
def test_two_places_that_are_one_are_named_before_anything_is_opened(atd: Atd, arguments: str, named: str) -> None:
    done = atd("serve", *arguments.split())
    assert (done.code, done.out) == (2, "")
    assert done.err == f"error: {named}: expected two places, these are one; change one of them\n"


def test_free_ports_and_other_hosts_are_places_of_their_own() -> None:
    Listeners("127.0.0.1", 0, "127.0.0.1:0", "./b.sock").check(0)
    with bind("127.0.0.1", 0) as one, bind("127.0.0.1", 0) as other:
        first, second = (listener.getsockname()[1] for listener in (one, other))
        Listeners("127.0.0.1", first, f"127.0.0.2:{second}", f"[::1]:{first}").check(second)


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
