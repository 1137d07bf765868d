from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.errors import EngineError, UsageError
from adaptertune_deploy.serve.http import server
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serve, serving
from adaptertune_deploy.serve.http.wire.phase import Phase
from adaptertune_deploy.serve.listening.address import bind
from adaptertune_deploy.serve.protocol import describe
from adaptertune_deploy.serve.sessions.opener import Opener
from adaptertune_deploy.serve.sessions.session import open_from
from adaptertune_deploy.serve.settings import Settings
from adaptertune_deploy.serve.tasks.bundle_source import BundleSource
from tests.serve.fakes import WAIT_S, FakeEngine, make_shared
from tests.serve.http.raw_http import LIVE, Wire, statuses
from tests.serve.http.wire.test_watch import watched
from tests.serve.tasks.bundles import FAKE, another, make_bundle, put

ROOT = Path(__file__).parents[3]


@contextmanager
def process(engine: str = "fine") -> Iterator[subprocess.Popen[str]]:
    """Run held_server.py and end it whatever happens."""
    command = [sys.executable, "-m", "tests.serve.http.held_server", engine]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def read_line(child: subprocess.Popen[str], start: str) -> str:
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line.startswith(start), line + (child.stderr.read() if child.stderr and not line else "")
    return line.removeprefix(start).strip()


def wait_refused(port: int) -> None:
    """Return when nobody listens on the port any more."""
    for _ in range(1_000_000):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=WAIT_S).close()
        except ConnectionRefusedError:
            return
        except ConnectionError:
            continue
    raise AssertionError("the server never stopped listening")


@pytest.mark.case(
    "B2", "SIGTERM with a request that runs and two that wait", "all answered with `Connection: close`, exit code 0"
)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_stop_answers_what_was_accepted_and_exits_with_0(png: bytes, number: signal.Signals) -> None:
    with process() as child, ThreadPoolExecutor(4) as threads:
        port = int(read_line(child, "listening "))
        read_line(child, "held")
        url = f"http://127.0.0.1:{port}/v1/predict"
        running = threads.submit(httpx.post, url, content=png, timeout=WAIT_S)
        read_line(child, "running")
        queued = [threads.submit(httpx.post, url, content=png, timeout=WAIT_S) for _ in range(2)]
        while 'nv_inference_pending_request_count{model="pets",version="1"} 3' not in (
            httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=WAIT_S).text
        ):
            assert child.poll() is None
        child.send_signal(number)
        wait_refused(port)
        if number == signal.SIGHUP:
            child.send_signal(number)  # a closing terminal may say it twice
        assert not running.done()
        assert child.stdin is not None
        child.stdin.write("go on\n")
        child.stdin.flush()
        for future in (running, *queued):
            response = future.result()
            assert response.status_code == 200
            assert response.headers["connection"] == "close"
        read_line(child, "ended")
        assert child.wait(WAIT_S) == 0


@pytest.mark.case("B2", "a second signal", "ends at once, exit code 128 + its number")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once(png: bytes, number: signal.Signals) -> None:
    with process() as child, ThreadPoolExecutor(1) as threads:
        port = int(read_line(child, "listening "))
        read_line(child, "held")
        lost = threads.submit(httpx.post, f"http://127.0.0.1:{port}/v1/predict", content=png, timeout=WAIT_S)
        read_line(child, "running")
        child.send_signal(number)
        wait_refused(port)
        child.send_signal(number)
        assert child.wait(WAIT_S) == 128 + number
        with pytest.raises(httpx.TransportError):
            lost.result()


@pytest.mark.case("B3", "SIGTERM while an engine that hangs warms up", "exit code 1 at the drain timeout")
def test_an_engine_that_never_finishes_does_not_outlive_the_drain_timeout() -> None:
    with process("stuck") as child:
        read_line(child, "listening ")
        child.send_signal(signal.SIGTERM)
        assert child.wait(WAIT_S) == 1
        assert child.stderr is not None
        assert (
            "error: the engine did not finish within 1 seconds; unfinished requests are given up" in child.stderr.read()
        )


@pytest.mark.case("B2", "SIGTERM with a hung engine", "503 as JSON, exit code 1, the last line counts them")
def test_requests_that_a_hung_engine_holds_are_answered_and_the_exit_code_says_so(png: bytes) -> None:
    with process("hung") as child, ThreadPoolExecutor(3) as threads:
        port = int(read_line(child, "listening "))
        read_line(child, "held")
        url = f"http://127.0.0.1:{port}/v1/predict"
        running = threads.submit(httpx.post, url, content=png, timeout=WAIT_S)
        read_line(child, "running")
        queued = threads.submit(httpx.post, url, content=png, timeout=WAIT_S)
        while 'nv_inference_pending_request_count{model="pets",version="1"} 2' not in (
            httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=WAIT_S).text
        ):
            assert child.poll() is None
        child.send_signal(signal.SIGTERM)
        for future in (running, queued):
            response = future.result()
            assert (response.status_code, response.headers["retry-after"]) == (503, "1")
            assert "could not answer in time" in response.json()["error"]
        assert read_line(child, "error ") == "2 requests were not finished within 0.1 seconds and got status 503"
        assert child.wait(WAIT_S) == 1


@pytest.mark.case("B2", "idle connections when the drain delay is over", "closed without a reset")
def test_idle_connections_are_closed_politely_at_the_end() -> None:
    with ExitStack() as stack:
        with serving(make_app(make_shared())) as url:
            idle, fresh = (stack.enter_context(Wire(int(url.rpartition(":")[2]))) for _ in range(2))
            assert idle.send(LIVE).read_answer()[0] == 200
        assert (idle.read_all(), fresh.read_all()) == (b"", b"")


@pytest.mark.case(
    "B2", "connections that are established, and not taken yet, when the drain delay is over", "answered, then closed"
)
def test_who_is_connected_when_the_server_ends_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those too whose request comes a moment later; who sends nothing is closed without a reset."""
    wires: list[Wire] = []
    shut = server.Server.shutdown

    async def shutdown(running: server.Server, sockets: list[socket.socket] | None = None) -> None:
        assert sockets is not None
        wires.extend(Wire(sockets[0].getsockname()[1]) for _ in range(12))  # the event loop takes none meanwhile
        for wire in wires[:4]:
            wire.send(LIVE)
        wires[4].send(LIVE[:10])
        asyncio.get_running_loop().call_later(0.05, send_late)
        await shut(running, sockets)

    def send_late() -> None:
        wires[4].send(LIVE[10:])
        for wire in wires[5:8]:
            wire.send(LIVE)

    monkeypatch.setattr(server.Server, "shutdown", shutdown)
    with serving(make_app(make_shared())):
        pass
    answers = [wire.read_all() for wire in wires]
    assert [statuses(answer) for answer in answers] == [[200]] * 8 + [[]] * 4
    assert all(b"connection: close" in answer for answer in answers[:8])
    for wire in wires:
        wire.socket.close()


@pytest.mark.case("B2", "an upload that stalls while the server ends", "408 after `--body-grace`, and the server ends")
def test_a_stalled_upload_holds_the_end_up_no_longer_than_its_grace() -> None:
    with ExitStack() as stack:
        with serving(make_app(make_shared(), Settings(body_grace=0.05, drain_timeout=WAIT_S))) as url:
            upload = stack.enter_context(Wire(int(url.rpartition(":")[2])))
            upload.send(b"POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nhalf")
        assert statuses(upload.read_all()) == [408]


LARGE = {"large": "x" * 20_000_000}


@pytest.mark.case("B2", "a large answer that is being read while the server ends", "read to its end")
def test_an_answer_is_read_to_its_end_while_the_server_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe, "server_metadata", lambda: LARGE)
    with ExitStack() as stack, ThreadPoolExecutor(1) as threads:
        with serving(make_app(make_shared())) as url:
            wire = stack.enter_context(Wire(int(url.rpartition(":")[2])))
            wire.send(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n")
            begin = wire.socket.recv(100)
            rest = threads.submit(wire.read_all)
        answer = begin + rest.result()
        assert statuses(answer[:100]) == [200]
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == LARGE


@pytest.mark.case("B2", "a client that does not take its answer while the server ends", "cut off at `--answer-timeout`")
def test_a_client_that_does_not_take_its_answer_does_not_hold_the_end_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(describe, "server_metadata", lambda: LARGE)
    with ExitStack() as stack:
        with serving(make_app(make_shared(), Settings(answer_timeout=0.05, drain_timeout=WAIT_S))) as url:
            wire = stack.enter_context(Wire(int(url.rpartition(":")[2])))
            wire.send(b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n")
            assert wire.socket.recv(100).startswith(b"HTTP/1.1 200")
        with pytest.raises(ConnectionResetError):
            wire.read_all()


def test_an_ignored_hangup_stays_ignored() -> None:
    """So a server started by nohup outlives its terminal."""
    running = server.Server(make_app(make_shared()), lambda: None)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with running.capture_signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) == running._on_signal
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.case("B1", "an engine that fails its first run", "never ready, one line, exit code 1")
def test_an_engine_that_fails_its_first_run_ends_the_server_with_one_line() -> None:
    with process("broken") as child:
        read_line(child, "listening ")
        assert read_line(child, "error ") == "the engine failed its first run: no such device"
        assert child.wait(WAIT_S) == 1


def test_an_address_in_use_is_one_clear_error() -> None:
    with bind("127.0.0.1", 0) as listener:
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(UsageError, match=f"can't listen on 127.0.0.1:{port} .*choose another with --host or"):
            serve(make_app(make_shared()), port=port)


@pytest.mark.case("B2", "the time of `--drain-delay`", "not ready, and goes on answering, on idle connections too")
def test_the_drain_delay_keeps_the_server_answering_while_it_says_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(server, "monotonic", lambda: now)
    app = make_app(make_shared(), Settings(drain_delay=5.0))
    running = server.Server(app, lambda: None)
    assert not asyncio.run(running.on_tick(1))
    running.watch, (idle,) = watched(Phase.IDLE)
    running.stop(5.0)
    now = 104.9
    running.stop()
    assert app.state.service.not_ready == "the server is shutting down"
    assert not asyncio.run(running.on_tick(1))
    assert (running.watch.draining, idle.fate) == (True, "")  # a proxy may send over it until it has noticed
    now = 105.0
    assert asyncio.run(running.on_tick(1))


def test_serving_takes_a_free_port_and_ends_with_its_block() -> None:
    engine = FakeEngine()
    with serving(make_app(make_shared(engine))) as url:
        assert httpx.get(f"{url}/v2/health/live").json() == {"live": True}
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/v2/health/live")


def test_two_servers_live_in_one_process() -> None:
    with serving(make_app(make_shared())) as one, serving(make_app(make_shared())) as two:
        assert one != two
        assert {httpx.get(f"{url}/v2/health/live").status_code for url in (one, two)} == {200}


def test_a_failed_first_run_is_raised_after_the_block(caplog: pytest.LogCaptureFixture) -> None:
    engine = FakeEngine(error=RuntimeError("no such device"))
    with (
        pytest.raises(EngineError, match="failed its first run: no such device"),
        serving(make_app(make_shared(engine))),
    ):
        pass


def test_a_server_that_can_not_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app(make_shared())

    def broken() -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(app.state.service, "start", broken)
    with pytest.raises(EngineError, match="the server did not start"), serving(app):
        pass


class Companion:
    """One that notes whether it was ended, and may not be able to start."""

    pending = 0

    def __init__(self, error: UsageError | None = None) -> None:
        self.error, self.ended = error, False

    async def start(self) -> None:
        if self.error is not None:
            raise self.error

    async def stop(self, seconds: float) -> None:
        self.ended = True


def test_a_start_that_fails_ends_what_had_begun(caplog: pytest.LogCaptureFixture) -> None:
    app, first, second = make_app(make_shared()), Companion(), Companion(UsageError("the port is taken"))
    with pytest.raises(UsageError, match="the port is taken"):
        serve(app, port=0, on_started=lambda *_: pytest.fail("it did not start"), companions=[first, second])
    assert first.ended
    assert app.state.service.draining
    assert "Traceback" not in caplog.text


def test_a_hangup_reads_the_bundle_again_where_no_terminal_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opener = Opener(make_bundle(tmp_path, monkeypatch), read_manifest(tmp_path), FAKE)
    session = open_from(opener)
    app = make_app(session, source=BundleSource(opener, session.form))
    found: list[str] = []

    def change(url: str) -> None:
        with httpx.Client(base_url=url, timeout=WAIT_S) as client:
            while client.get("/v2/health/ready").status_code != 200:
                pass
            put(tmp_path, another("pets"))
            os.kill(os.getpid(), signal.SIGHUP)
            while not found or found[-1] == "1":
                found.append(client.get("/v2/models/pets").json()["versions"][0])
        os.kill(os.getpid(), signal.SIGINT)

    threads: list[threading.Thread] = []

    def begin(host: str, port: int) -> None:
        threads.append(threading.Thread(target=change, args=(f"http://{host}:{port}",)))
        threads[0].start()

    serve(app, port=0, on_started=begin, hangup_reloads=True)
    threads[0].join()
    assert found[-1] == "2"
    session.close()
