from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import sys
import threading
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from adaptertune_deploy.cli import serve
from adaptertune_deploy.cli.terminal import console
from adaptertune_deploy.core import cores
from adaptertune_deploy.core.adapter.folder import read_config, write_config
from adaptertune_deploy.core.adapter.samples import keep
from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.engines.limits import Limits
from adaptertune_deploy.engines.onnxruntime.engine import OrtEngine
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.serve.http import server
from adaptertune_deploy.serve.listening.address import is_loopback
from adaptertune_deploy.serve.service import Service
from tests.cli.conftest import Atd, Done


class Served:
    """Runs a real server that is told to stop as soon as it listens.

    Attributes:
        lines: what the command printed on standard output until then.
        asked: the status of one request.
    """

    def __init__(self, atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines: list[str] = []
        self.asked: list[int] = []
        self._atd = atd
        monkeypatch.setattr(console.out, "print", lambda text, **_: self.lines.append(str(text)))
        original = server.Server.startup
        served = self

        async def startup(self: server.Server, sockets: object = None) -> None:
            await original(self, sockets)  # type: ignore[arg-type]
            threading.Thread(target=served._ask, args=(self,)).start()

        monkeypatch.setattr(server.Server, "startup", startup)

    def _ask(self, running: server.Server) -> None:
        url = re.search(r"http://[\d.:]+", self.lines[0])
        assert url is not None
        with urllib.request.urlopen(f"{url[0]}/v2/health/live", timeout=60) as answer:
            self.asked.append(answer.status)
        running.stop()

    def run(self, *arguments: str | Path, log_level: str = "warning") -> Done:
        return self._atd("serve", "--port", "0", "--log-level", log_level, *arguments)


def test_it_announces_its_address_and_a_request_to_try(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(atd, monkeypatch)
    done = served.run("--adapters", "cars,birds")
    assert done.code == 0
    assert served.asked == [200]
    assert (
        f"serving cars, birds from bundle/ (shared form, onnxruntime {onnxruntime.__version__} on cpu in fp32)"
        in served.lines[0]
    )
    assert served.lines[1].startswith("ask about an image of yours: curl --data-binary @IMAGE 'http://127.0.0.1:")
    assert served.lines[1].endswith("/v1/predict?tasks=cars,birds'")
    assert done.err == "stopped; every accepted request was answered\n"


def test_the_request_to_try_is_about_an_image_that_is_here(
    atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder / "o ü 1"
    place.mkdir()
    for name in ("bundle", "adapters"):
        shutil.move(name, place)
    birds = place / "adapters" / "birds"
    kept = keep(birds, [((folder / "images" / "0.png").read_bytes(), ".png", "a bird")], travel=True)
    write_config(birds, replace(read_config(birds), samples=kept))
    served = Served(atd, monkeypatch)
    assert served.run("--bundle", "o ü 1/bundle").code == 0
    assert served.lines[1].startswith("next: curl --data-binary '@o ü 1/adapters/birds/samples/00000_a_bird.png' ")


def test_limits_are_said_where_they_are_asked_for_or_can_not_hold(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100, 100))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)  # a limit that is lowered stays so for every other test
    done = Served(atd, monkeypatch).run("--verbose")
    lines = done.err.splitlines()
    assert lines[0] == ("note: --max-connections 512: this process has descriptors for 36; raise them with: ulimit -n")
    assert "note: --max-batch found at the start, at most 8 rows" in lines


def test_tasks_without_a_slot_are_served_and_told(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(atd, monkeypatch)
    done = served.run("--slots", "1")
    assert served.lines[0].startswith("serving birds, cars from bundle/ ")
    assert done.err.splitlines()[0] == "note: 1 of 2 tasks have a slot, the others come when asked for"
    served.lines.clear()
    done = served.run("--slots", "2", "--pin", "birds")
    assert "have a slot" not in done.err


def test_a_server_that_others_reach_says_that_everybody_may_ask(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    done = Served(atd, monkeypatch).run("--host", "0.0.0.0")
    (note, stopped) = done.err.splitlines()
    assert re.fullmatch(r"note: there is no authentication: everybody who reaches port \d+ can ask", note)
    assert stopped == "stopped; every accepted request was answered"


def test_the_log_goes_to_standard_error_in_the_format_that_is_asked_for(
    atd: Atd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATD_ACCESS_LOG", "1")
    done = Served(atd, monkeypatch).run("--log-format", "json", log_level="debug")
    *lines, last = done.err.splitlines()
    documents = [json.loads(line) for line in lines]
    (asked,) = [document for document in documents if document["logger"] == "adaptertune_deploy.access"]
    assert (asked["path"], asked["status"]) == ("/v2/health/live", 200)
    assert "not ready: the server is shutting down" in [document["message"] for document in documents]
    assert last == "stopped; every accepted request was answered"


def test_grpc_is_announced_and_answers_beside_http(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    grpc = pytest.importorskip("grpc", reason="grpcio is not installed")
    names: list[str] = []

    def ask(self: Served, running: server.Server) -> None:
        (companion,) = running._companions
        while not companion.port:
            pass
        with grpc.insecure_channel(f"127.0.0.1:{companion.port}") as channel:
            stub = channel.unary_unary("/inference.GRPCInferenceService/ServerMetadata")
            names.append(stub(b"", wait_for_ready=True, timeout=60).decode(errors="replace"))
        running.stop()

    monkeypatch.setattr(Served, "_ask", ask)
    done = Served(atd, monkeypatch).run("--grpc-port", "0")
    (note, stopped) = done.err.splitlines()
    assert re.fullmatch(r"note: gRPC on 127\.0\.0\.1:\d+(; this process has descriptors for .*)?", note)
    assert stopped == "stopped; every accepted request was answered"
    assert "adaptertune-deploy" in names[0]


def test_grpc_without_its_library_is_one_line_before_anything_is_loaded(
    atd: Atd, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("adaptertune_deploy.serve.grpc.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "grpc", None)
    done = atd("serve", "--grpc-port", "0")
    assert (done.code, done.err) == (
        1,
        "error: --grpc-port needs grpc, which is not installed; pip install 'adaptertune-deploy[grpc]'\n",
    )


@pytest.mark.parametrize(("asked", "told"), [(4, False), (6, True)])
def test_batches_that_the_engine_does_not_take_are_made_smaller_and_that_is_said(
    atd: Atd, monkeypatch: pytest.MonkeyPatch, asked: int, told: bool
) -> None:
    limits = property(lambda self: Limits(max_rows=4), lambda self, value: None)
    monkeypatch.setattr(OrtEngine, "limits", limits, raising=False)
    done = Served(atd, monkeypatch).run("--max-batch", str(asked))
    assert done.code == 0
    note = "note: --max-batch 6: onnxruntime takes 4 rows of one run, so batches have 4"
    assert (note in done.err.splitlines()) is told


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--adapters", "fish"], 2, "holds no task 'fish'"),
        (["--adapters", "trees"], 2, "add it with: atd add adapters/trees"),
        (["--adapters", ""], 2, "--adapters names no task"),
        (["--bundle", "none"], 1, "none: holds no manifest.json; make a bundle with: atd export"),
        (["--port", "70000"], 2, "choose another with --host or --port"),
        (["--grpc-port", "70000"], 2, "choose another with --host or --grpc-port"),
        (["--device", "tpu"], 2, "device 'tpu'"),
        (["--form", "both"], 2, "form"),
        (["--threads", "-1"], 2, "--threads -1: expected 0 to 1024"),
        (["--max-batch", "0"], 2, "--max-batch"),
        (["--queue-limit", "0"], 2, "--queue-limit"),
        (["--drain-delay", "-1"], 2, "--drain-delay"),
        (["--slots", "-1"], 2, "--slots -1: expected at least 0"),
        (["--pin", "bird"], 2, "--pin names no served task 'bird'. Did you mean 'birds'?"),
        (["--slots", "1", "--pin", "birds"], 2, "none of 1 slots is left for the others; raise --slots or pin fewer"),
    ],
)
def test_mistakes(atd: Atd, arguments: list[str], code: int, text: str) -> None:
    done = atd("serve", *arguments)
    assert (done.code, done.out, done.err.count("\n")) == (code, "", 1)
    assert text in done.err


@pytest.mark.parametrize(
    ("host", "alone"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("a.test", False)],
)
def test_only_a_loopback_address_keeps_others_out(host: str, alone: bool) -> None:
    assert is_loopback(host) is alone


def test_a_damaged_task_stops_a_strict_start_and_is_left_out_of_a_lenient_one(
    atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    birds = next(record for record in read_manifest(folder / "bundle").tasks if record.task.name == "birds")
    (folder / "bundle" / birds.file).write_bytes(b"damaged")
    done = atd("serve", "--port", "0")
    assert (done.code, "birds" in done.err) == (1, True)
    served = Served(atd, monkeypatch)
    done = served.run("--lenient")
    assert done.code == 0
    assert "birds" not in served.lines[0].split("from bundle/")[0]
    assert done.err.startswith(f"note: birds is left out: bundle/{birds.file}: ")


def test_the_admin_listener_is_named_and_refused_where_it_is_open_to_all(
    atd: Atd, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = atd("serve", "--admin", "0.0.0.0:0")
    assert done.code == 2
    assert "others than this machine reach this address; set ATD_ADMIN_TOKEN" in done.err
    served = Served(atd, monkeypatch)
    done = served.run("--admin", str(folder / "admin.sock"), "--watch")
    assert done.code == 0
    assert done.err.startswith(
        f"note: tasks come and go on {folder / 'admin.sock'}, for everybody on this machine who reaches it"
    )
    assert not (folder / "admin.sock").exists()
    monkeypatch.setenv("ATD_ADMIN_TOKEN", "a token")
    served.lines.clear()
    done = served.run("--admin", "127.0.0.1:0")
    assert re.match(r"note: tasks come and go on http://127\.0\.0\.1:\d+, for who has the token\n", done.err)


@pytest.mark.parametrize(("terminal", "code", "reloads"), [(False, 0, 1), (True, 129, 0)])
def test_a_hangup_while_the_bundle_is_opened_has_it_read_again(
    atd: Atd, monkeypatch: pytest.MonkeyPatch, terminal: bool, code: int, reloads: int
) -> None:
    reloaded: list[Service] = []
    opening = serve._opening

    def interrupted(*arguments: Any) -> Any:
        os.kill(os.getpid(), signal.SIGHUP)
        return opening(*arguments)

    monkeypatch.setattr(serve, "_opening", interrupted)
    monkeypatch.setattr(serve, "_has_terminal", lambda: terminal)
    monkeypatch.setattr(Service, "reload", lambda service: reloaded.append(service))
    assert Served(atd, monkeypatch).run().code == code
    assert len(reloaded) == reloads


def test_instances_share_one_engine_and_the_cores(atd: Atd, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[EngineOptions] = []
    opening = serve._opening

    def noted(bundle: Path, names: list[str] | None, form: str, asked: EngineOptions, *rest: Any) -> Any:
        opened.append(asked)
        return opening(bundle, names, form, asked, *rest)

    monkeypatch.setattr(serve, "_opening", noted)
    monkeypatch.setattr(cores, "usable", lambda read: 6)
    served = Served(atd, monkeypatch)
    assert served.run("--instances", "2", "--verbose").code == 0
    assert served.asked == [200]
    (options,) = opened
    assert options.threads == 3


def test_a_setting_that_allows_fewer_runs_than_instances_is_refused(atd: Atd) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed")
    done = atd("serve", "--engine", "openvino", "-E", "streams=3", "--instances", "2")
    assert (done.code, done.err) == (
        2,
        "error: -E streams=3: does not go with --instances 2; leave out one\n",
    )
