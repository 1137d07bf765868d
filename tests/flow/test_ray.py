"""Two replicas on a real local Ray: tasks are replaced, removed and added while requests come, and none fails."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from adaptertune_deploy.core.adapter.folder import read_config
from adaptertune_deploy.core.bundle.folder import read_manifest
from tests.builders import write_adapter
from tests.flow.conftest import run_atd
from tests.flow.playing import atd_command, environment
from tests.flow.test_rolling_restart import free_ports

pytest.importorskip("ray.serve", reason="ray is not installed; pip install 'ray[serve]'")

WAIT_S = 180
MOST = 20_000  # requests of one client
PER_SECOND = 10
CLIENTS = 2
STARTS = 3


def start(folder: Path, *options: str) -> tuple[subprocess.Popen[str], str]:
    """Start atd serve --ray; returns it with the line that it prints when its replicas are warm.

    Ray gives a node 30 seconds to come up, which nothing lengthens: a machine that is too busy for that tries again.
    """
    variables = environment(torch=False, place=folder) | {"RAY_ADDRESS": "local", "ATD_DRAIN_TIMEOUT": "5"}
    log = folder / "log"
    command = atd_command("serve", "--ray", *options)
    for _ in range(STARTS):
        with log.open("w") as errors:
            child = subprocess.Popen(
                command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        assert child.stdout is not None
        line = child.stdout.readline()
        if line:
            return child, line
        child.stdout.close()
        assert child.wait(WAIT_S) == 1
        said = log.read_text()
        assert said.splitlines()[-1].startswith("error: no Ray: The current node timed out during startup"), said
    pytest.skip(f"Ray's node did not come up within 30 seconds, {STARTS} times: the machine is too busy")


@contextmanager
def served(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    child, line = start(folder, *options)
    with child:
        try:
            yield child, line
        finally:
            child.terminate()
            try:
                child.wait(WAIT_S)
            except subprocess.TimeoutExpired:
                child.kill()


@dataclass
class Client:
    """Asks about birds over connections of its own until told to stop.

    answers: replica -> what it answered, in order: version and probabilities.
    failures: what went wrong.
    """

    port: int
    image: bytes
    answers: dict[str, list[tuple[str, str]]] = field(default_factory=lambda: defaultdict(list))
    failures: list[object] = field(default_factory=list)
    sent: int = 0
    enough: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)) as connection:
            while not self.enough.wait(1 / PER_SECOND) and self.sent < MOST:
                self.sent += 1
                try:
                    status, replica, body = ask(connection, "birds", self.image)
                except (OSError, http.client.HTTPException) as error:
                    self.failures.append(error)
                    connection.close()
                    continue
                if status == 200:
                    self.answers[replica].append((body["versions"]["birds"], json.dumps(body["images"])))
                else:
                    self.failures.append((status, body))


def ask(connection: http.client.HTTPConnection, task: str, image: bytes) -> tuple[int, str, Any]:
    connection.request("POST", f"/v1/predict?top_k=3&tasks={task}", image)
    response = connection.getresponse()
    body = json.loads(response.read())
    return response.status, response.headers["X-Replica-ID"], body


def until_all(port: int, task: str, image: bytes, right: Callable[[int, Any], bool]) -> None:
    """Ask until both replicas answer as they should, each on its own."""
    found: dict[str, bool] = {}
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=WAIT_S)) as connection:
        for _ in range(MOST):
            status, replica, body = ask(connection, task, image)
            found[replica] = right(status, body)
            if len(found) == 2 and all(found.values()):
                return
    raise AssertionError(found)


def version(folder: Path, task: str) -> str:
    """Return the version that the bundle's content has, by the hash that its manifest gives."""
    (digest,) = [record.sha256 for record in read_manifest(folder / "bundle").tasks if record.task.name == task]
    return str(int(digest[:8], 16))


def test_a_change_of_the_bundle_reaches_every_replica_and_no_request_fails(golden: Path) -> None:
    image = (golden / "images" / "0.png").read_bytes()
    (port,) = free_ports(1)
    clients = [Client(port, image) for _ in range(CLIENTS)]
    threads = [threading.Thread(target=client.run) for client in clients]
    options = ("--replicas", "2", "--watch", "--port", str(port), "--device", "cpu", "--threads", "1")
    # However many cores there are, Ray may count two.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_OVERRIDE_RESOURCES", json.dumps({"CPU": max(2, os.cpu_count() or 1)}))
        with served(golden, *options) as (server, line):
            assert line == f"serving {golden}/bundle/ by 2 replicas of 1 core each on http://127.0.0.1:{port}\n"
            for thread in threads:
                thread.start()
            try:
                before = version(golden, "birds")
                until_all(port, "birds", image, lambda status, body: body["versions"] == {"birds": before})
                config = read_config(golden / "adapters" / "birds")
                write_adapter(golden / "other" / "birds", config.task, config.backbone, config.preprocess, seed=31)
                run_atd(golden, "add", "other/birds")
                after = version(golden, "birds")
                until_all(port, "birds", image, lambda status, body: body["versions"] == {"birds": after})
                run_atd(golden, "remove", "cars")
                until_all(port, "cars", image, lambda status, body: status == 404)
                run_atd(golden, "add", "adapters/trees")
                until_all(port, "trees", image, lambda status, body: status == 200)
            finally:
                for client in clients:
                    client.enough.set()
                for thread in threads:
                    thread.join()
            server.send_signal(signal.SIGTERM)
            assert server.wait(WAIT_S) == 0
    assert [failure for client in clients for failure in client.failures] == []
    assert {replica for client in clients for replica in client.answers} == {
        replica for client in clients for replica in clients[0].answers
    }
    pairs = {pair for client in clients for answers in client.answers.values() for pair in answers}
    assert before != after
    assert {number for number, _ in pairs} == {before, after}
    assert len(pairs) == 2  # each version has one answer, the same on both replicas
    for client in clients:
        for answers in client.answers.values():
            numbers = [number for number, _ in answers]
            assert numbers == sorted(numbers, key=[before, after].index)  # never back to the old one
