"""A server whose bundle goes away, and one that is told to stop before it has read it."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.flow.playing import atd_command, environment
from tests.flow.waiting import wait_until_ready

WAIT_S = 60


@contextmanager
def start(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a server in a folder, and end it whatever happens."""
    pipe = subprocess.PIPE
    command, variables = atd_command("serve", "--port", "0"), environment(torch=False, place=folder)
    with subprocess.Popen(command, cwd=folder, env=variables, stdout=pipe, stderr=pipe, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def ask(url: str, image: bytes) -> object:
    with urllib.request.urlopen(urllib.request.Request(f"{url}/v1/predict", image), timeout=WAIT_S) as response:
        return json.load(response)["images"]


@pytest.mark.case("B10", "the bundle is deleted while it is served", "the same answers, and a good end")
def test_a_bundle_that_is_gone_is_served_on(golden: Path) -> None:
    image = (golden / "images" / "0.png").read_bytes()
    with start(golden) as server:
        assert server.stdout is not None
        url = server.stdout.readline().rpartition(" on ")[2].strip()
        wait_until_ready(url)
        before = ask(url, image)
        shutil.rmtree(golden / "bundle")
        assert ask(url, image) == before
        server.send_signal(signal.SIGTERM)
        _, said = server.communicate(timeout=WAIT_S)
    assert server.returncode == 0
    assert said.splitlines()[-1] == "stopped; every accepted request was answered"


@pytest.mark.case("B3", "SIGTERM while Python, numpy or the engine is loaded", "ends at once, without a traceback")
@pytest.mark.parametrize("library", ["", "numpy", "onnxruntime"])
def test_a_server_may_be_stopped_before_it_serves(golden: Path, library: str) -> None:
    with start(golden) as server:
        while library not in Path(f"/proc/{server.pid}/maps").read_text():
            assert server.poll() is None
        server.send_signal(signal.SIGTERM)
        told, said = server.communicate(timeout=WAIT_S)
    assert server.returncode in (-signal.SIGTERM, 128 + signal.SIGTERM), said
    assert "Traceback" not in said
    assert told == ""
