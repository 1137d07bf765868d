"""Two servers behind HAProxy are restarted one after the other while requests come: none of them fails."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.flow.playing import atd_command, environment
from tests.flow.waiting import wait_until_ready

HAPROXY = shutil.which("haproxy")
PER_SECOND = 50
MOST = 6000  # requests; the restarts need some hundreds
WAIT_S = 60
PATH = "/v1/predict?top_k=3"
# As hard on the servers as HAProxy can be: whatever it is given goes to whichever idle connection there is, once.
CONFIGURATION = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout check 10s
    retries 0
    http-reuse always
    option httpchk
    http-check send meth GET uri /v2/health/ready ver HTTP/1.1 hdr Host proxy
    default-server inter 50ms fall 1 rise 1 init-addr none

listen proxy
    bind 127.0.0.1:{proxy}
    balance roundrobin
    server one 127.0.0.1:{one} check
    server two 127.0.0.1:{two} check
"""


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [taken.getsockname()[1] for taken in sockets]


@contextmanager
def running(*command: str | Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    quiet = subprocess.DEVNULL
    with subprocess.Popen(
        command, cwd=folder, env=environment(torch=False, place=folder), stdout=quiet, stderr=subprocess.PIPE, text=True
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def serving(folder: Path, port: int) -> Any:
    return running(*atd_command("serve", "--port", str(port), "--drain-delay", "1"), folder=folder)


@dataclass
class Client:
    """Sends an image 50 times a second over one connection until told to stop.

    answers: what came, each kind once. failures: what went wrong.
    """

    port: int
    image: bytes
    answers: set[str] = field(default_factory=set)
    failures: list[object] = field(default_factory=list)
    sent: int = 0
    enough: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)) as connection:
            self._send(connection)

    def _send(self, connection: http.client.HTTPConnection) -> None:
        begun = monotonic()
        while not self.enough.is_set() and self.sent < MOST:
            self.enough.wait(max(0.0, begun + self.sent / PER_SECOND - monotonic()))
            self.sent += 1
            try:
                connection.request("POST", PATH, self.image)
                response = connection.getresponse()
                body = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(error)
                connection.close()
                continue
            if response.status == 200:
                self.answers.add(json.dumps(json.loads(body)["images"]))
            else:
                self.failures.append((response.status, body))


def answered(port: int) -> int:
    """Return how many requests about birds a server has answered since it started."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/birds/stats", timeout=WAIT_S) as response:
        (stats,) = json.load(response)["model_stats"]
    return int(stats["inference_stats"]["success"]["count"])


def wait_answering(port: int, client: Client) -> None:
    """Return when the proxy has given a server some requests."""
    while answered(port) < 5:
        assert not client.failures, client.failures
        assert client.sent < MOST


@pytest.mark.case(
    "B4",
    "two servers behind HAProxy, restarted one after the other at 50 requests/s",
    "no request fails, every answer is the same to the bit, exit code 0",
)
@pytest.mark.skipif(HAPROXY is None, reason="haproxy is not installed; apt-get install haproxy")
def test_no_request_fails_while_servers_are_restarted_one_by_one(golden: Path) -> None:
    image = (golden / "images" / "0.png").read_bytes()
    proxy, *ports = free_ports(3)
    configuration = golden / "haproxy.cfg"
    configuration.write_text(CONFIGURATION.format(proxy=proxy, one=ports[0], two=ports[1]))
    client = Client(proxy, image)
    sender = threading.Thread(target=client.run)
    with ExitStack() as stack:
        stack.callback(sender.join)
        stack.callback(client.enough.set)
        servers = [stack.enter_context(serving(golden, port)) for port in ports]
        for server, port in zip(servers, ports, strict=True):
            wait_until_ready(f"http://127.0.0.1:{port}", server=server)
        between = stack.enter_context(running(str(HAPROXY), "-db", "-q", "-f", configuration, folder=golden))
        wait_until_ready(f"http://127.0.0.1:{proxy}", server=between)
        sender.start()
        for port in ports:
            wait_answering(port, client)
        for server, port in zip(servers, ports, strict=True):
            server.send_signal(signal.SIGTERM)
            assert server.wait(WAIT_S) == 0
            after = stack.enter_context(serving(golden, port))
            wait_until_ready(f"http://127.0.0.1:{port}", server=after)
            wait_answering(port, client)
        client.enough.set()
        sender.join()
    assert client.failures == []
    assert len(client.answers) == 1
