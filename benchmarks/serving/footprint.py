"""What a device pays: memory of a server, time to add a task, time of --help.

python -m benchmarks.serving.footprint --bundle DIR --adapter DIR

The bundle should hold three tasks on DeiT-Tiny; the adapter is one more task on the same backbone, trained on this
machine, so that its held-back images are here.
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from rich.console import Console

from adaptertune_deploy.bench.machine import describe_machine
from adaptertune_deploy.bench.memory import resident_mb
from adaptertune_deploy.core.adapter import samples
from adaptertune_deploy.core.adapter.folder import read_config
from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.bundle.publish import add_task
from benchmarks import documents

RESULTS = documents.results("footprint")
ATD = [sys.executable, "-m", "adaptertune_deploy"]
REQUESTS = 100


def serve_memory(bundle: Path, image: bytes) -> dict[str, float]:
    """Start `atd serve`, ask for every task a hundred times, and return its resident memory before and after."""
    command = [*ATD, "serve", "--bundle", str(bundle), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        line = server.stdout.readline() if server.stdout else ""
        url = re.search(r"http://\S+", line)
        if url is None:
            raise SystemExit(f"atd serve said: {line!r}")
        _answer(url[0], image)
        before = resident_mb(server.pid)
        for _ in range(REQUESTS):
            _answer(url[0], image)
        after = resident_mb(server.pid)
        server.terminate()
    return {"ready_mb": round(before, 1), "after_requests_mb": round(after, 1), "requests": REQUESTS}


def _answer(url: str, image: bytes) -> None:
    request = urllib.request.Request(f"{url}/v1/predict", image, {"Content-Type": "application/octet-stream"})
    for _ in range(100):
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                response.read()
            return
        except urllib.error.HTTPError as error:  # 503 until the server is warm
            if error.code != 503:
                raise
            time.sleep(0.1)
    raise SystemExit("the server did not become ready")


def add_seconds(bundle: Path, adapter: Path) -> dict[str, float]:
    """Return the median seconds of adding a task to copies of the bundle: the call alone, and the whole command."""
    with tempfile.TemporaryDirectory() as scratch:
        copies = [Path(scratch) / str(number) for number in range(18)]
        for copy in copies:
            shutil.copytree(bundle, copy)
        call = [_timed(partial(add_task, copy, adapter)) for copy in copies[:9]]
        commands = [[*ATD, "add", str(adapter), "--bundle", str(copy)] for copy in copies[9:]]
        whole = [_timed(partial(subprocess.run, command, check=True, capture_output=True)) for command in commands]
    return {"call_s": round(median(call), 4), "command_s": round(median(whole), 3)}


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    given = parser.parse_args()
    _, path = samples.find(given.adapter, read_config(given.adapter).samples)[0]
    image = path.read_bytes()
    manifest = read_manifest(given.bundle)
    help_times = [_timed(lambda: subprocess.run([*ATD, "--help"], capture_output=True)) for _ in range(9)]
    facts = {
        "machine": dataclasses.asdict(describe_machine()),
        "backbone": manifest.backbone.name,
        "tasks": len(manifest.tasks),
        "serve": serve_memory(given.bundle, image),
        "add": add_seconds(given.bundle, given.adapter),
        "help_s": round(median(help_times), 3),
    }
    documents.write(RESULTS, facts)
    Console().print_json(data=facts)


if __name__ == "__main__":
    main()
