from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from adaptertune_deploy.cli.parts.remote import Remote
from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.errors import UsageError
from tests.cli.administered import TOKEN, administered
from tests.cli.conftest import Atd

WRONG = ("8001", "http://[::1", "http://127.0.0.1:abc", "http://127.0.0.1:99999", "http://:8001")


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, httpx.Client]]:
    monkeypatch.setenv("ATD_ADMIN_TOKEN", TOKEN)
    with administered(folder / "bundle") as found:
        yield found


def names(client: httpx.Client) -> list[str]:
    return [name for name in client.get("/v2/models").json()["models"] if "__" not in name]


def test_tasks_are_added_listed_and_removed_while_the_server_runs(
    atd: Atd, folder: Path, server: tuple[str, httpx.Client]
) -> None:
    where, client = server
    done = atd("add", "adapters/trees", "--server", where)
    assert (done.code, done.err) == (0, "note: it is served from memory: the server's bundle holds what it held\n")
    assert re.fullmatch(rf"{where} serves trees as version 1 \(\d+\.\d\d s\)\n", done.out)
    assert names(client) == ["birds", "cars", "trees"]
    assert len(read_manifest(folder / "bundle").tasks) == 2
    done = atd("list", "--server", where)
    title, columns, *rows = done.out.splitlines()
    assert title == f"{where}: 3 tasks served"
    assert [row.split() for row in (columns, *rows)] == [
        ["task", "version", "state", "why"],
        ["birds", "1", "READY"],
        ["cars", "1", "READY"],
        ["trees", "1", "READY"],
    ]
    done = atd("add", "adapters/trees", "--server", where, "--ship", "head", "--json")
    assert json.loads(done.out)["version"] == "2"
    assert client.get("/v2/models/trees").json()["parameters"]["rank"] == 0
    assert atd("remove", "trees", "--server", where).out == f"removed trees from {where}: 2 tasks left\n"
    assert names(client) == ["birds", "cars"]
    document = json.loads(atd("list", "--server", where, "--json").out)
    assert document[-1] == {"name": "trees", "version": "2", "state": "UNAVAILABLE", "reason": "unloaded"}


def test_a_unix_socket_will_do(atd: Atd, folder: Path) -> None:
    with administered(folder / "bundle", str(folder / "admin.sock"), None) as (where, client):
        assert atd("remove", "cars", "--server", where).code == 0
        assert names(client) == ["birds"]


def test_what_a_server_says_is_wrong_is_one_line(
    atd: Atd, server: tuple[str, httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    where, _ = server
    done = atd("remove", "car", "--server", where)
    assert (done.code, done.err) == (
        2, f"error: {where}: serves no task 'car', only birds, cars. Did you mean 'cars'?\n"
    )  # fmt: skip
    done = atd("add", "adapters/trees", "--merge", "--server", where)
    assert (done.code, "a running server takes no graphs" in done.err) == (2, True)
    monkeypatch.setenv("ATD_ADMIN_TOKEN", "another")
    done = atd("list", "--server", where)
    assert (done.code, done.err) == (
        1, f"error: {where}: asks for its token; set ATD_ADMIN_TOKEN to the one that it was started with\n"
    )  # fmt: skip


def test_a_server_of_merged_graphs_takes_no_tensors(atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATD_ADMIN_TOKEN", TOKEN)
    with administered(folder / "bundle", form="merged") as (where, _):
        done = atd("add", "adapters/trees", "--server", where)
    assert (done.code, done.err) == (
        1,
        f"error: {where}: this server runs merged graphs; add the task to its bundle with: atd add --merge\n",
    )


@pytest.mark.parametrize(
    ("where", "code", "text"),
    [
        ("http://127.0.0.1:1", 1, "no server answers there (Connection refused); start one with: atd serve --admin"),
        ("./no.sock", 1, "no server answers there (No such file or directory)"),
        *(
            (where, 2, f"error: --server {where}: expected http://HOST:PORT, or the path of a Unix socket")
            for where in WRONG
        ),
    ],
)
def test_where_no_server_is(atd: Atd, where: str, code: int, text: str) -> None:
    for words in (["list"], ["remove", "cars"], ["add", "adapters/trees"]):
        done = atd(*words, "--server", where)
        assert (done.code, done.out) == (code, "")
        assert text in done.err
        assert done.err.count("\n") == 1


def test_either_what_is_at_rest_or_what_runs(atd: Atd) -> None:
    done = atd("list", "--bundle", "bundle", "--server", "http://127.0.0.1:1")
    assert (done.code, done.err) == (
        2, "error: --bundle and --server: give one of them, what is at rest or what runs\n"
    )  # fmt: skip


def test_an_address_may_have_a_path() -> None:
    assert Remote("https://host.example/admin/")._base == "/admin"
    assert Remote("/run/admin.sock")._base == ""
    with pytest.raises(UsageError):
        Remote("localhost:8001")


def test_a_task_that_somebody_else_takes_away_at_once_is_said(
    atd: Atd, server: tuple[str, httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    where, _ = server
    monkeypatch.setattr(Remote, "index", lambda self: [{"name": "trees", "version": "1", "state": "UNAVAILABLE"}])
    done = atd("add", "adapters/trees", "--server", where)
    said = f"error: {where}: took trees and serves it no more, somebody else changed it; see atd list\n"
    assert (done.code, done.err) == (1, said)
