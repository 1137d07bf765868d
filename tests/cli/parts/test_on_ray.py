from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.serve.ray.replica import Plan
from tests.cli.conftest import Atd

REFUSED = {
    ("--replicas", "2"): "--replicas 2: needs --ray; without it this process serves alone",
    ("--ray", "--replicas", "0"): "--replicas 0: expected at least 1",
    ("--ray", "--grpc-port", "0"): "--grpc-port and --ray: replicas answer over HTTP alone; leave one of them out",
    ("--ray", "--admin", "127.0.0.1:0"): "--admin and --ray: it would change one replica of several; "
    "serve with --watch, and change the bundle with atd add and atd remove",
    ("--ray", "--admin-grpc", "127.0.0.1:0"): "--admin-grpc and --ray: it would change one replica of several; ",
    ("--ray", "--port", "0"): "--port 0 and --ray: every machine's proxy listens on the same port; name one",
    ("--ray", "--device", "cuda:1"): "--device cuda:1 and --ray: Ray gives each replica a GPU of its own; "
    "say --device cuda",
    ("--ray", "--bundle", "none"): "none: holds no manifest.json; make a bundle with: atd export",
    ("--ray", "--adapters", "horses"): "no task 'horses'",
}


@pytest.mark.parametrize("arguments", REFUSED, ids=" ".join)
def test_what_replicas_can_not_do_is_refused_before_ray_is_imported(
    atd: Atd, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = atd("serve", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (2 if "none" not in arguments else 1, "", 1)
    assert REFUSED[arguments] in done.err


def test_without_ray_one_line_says_how_to_get_it(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("adaptertune_deploy.serve.ray.deployment", raising=False)
    monkeypatch.delitem(sys.modules, "adaptertune_deploy.serve.ray.deployment", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    done = atd("serve", "--ray", "--port", "18431")
    assert (done.code, done.out) == (1, "")
    assert done.err == "error: --ray needs ray, which is not installed; pip install 'adaptertune-deploy[ray]'\n"


def test_a_port_that_is_taken_is_said_before_anything_starts(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = atd("serve", "--ray", "--port", taken.getsockname()[1])
    assert done.code == 2
    assert "Address already in use" in done.err


def test_a_damaged_bundle_is_one_line_before_anything_starts(
    atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ray.serve", reason="ray is not installed")
    from adaptertune_deploy.serve.ray import deployment

    monkeypatch.setattr(deployment.ray, "init", lambda **_: 1 / 0)
    record = read_manifest(folder / "bundle").tasks[0]
    (folder / "bundle" / record.file).write_bytes(b"damaged")
    done = atd("serve", "--ray", "--port", "18431")
    assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
    assert record.file in done.err


def test_it_says_where_it_serves_and_with_what(atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray.serve", reason="ray is not installed")
    from adaptertune_deploy.serve.ray import deployment

    seen = []

    def serve(plan: Plan, replicas: int, host: str, port: int, on_started: Callable[[object], None]) -> None:
        seen.append((plan.opening.bundle, plan.opening.names, plan.opening.watched, plan.settings.max_batch, replicas))
        on_started(deployment.Share(4, 1))

    monkeypatch.setattr(deployment, "serve", serve)
    done = atd(
        "serve", "--ray", "--replicas", "3", "--adapters", "cars", "--watch", "--max-batch", "16", "--port", "18431"
    )
    assert done.code == 0
    assert seen == [(folder / "bundle", ("cars",), True, 16, 3)]
    assert done.out == f"serving {folder}/bundle/ by 3 replicas of 4 cores and a GPU each on http://127.0.0.1:18431\n"
    assert done.err.splitlines()[-1].startswith("stopped; replicas had 20 seconds to answer")
