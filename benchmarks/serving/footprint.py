"""What a device pays: memory of a server, time to add a task, time of --help.

python -m benchmarks.serving.footprint --bundle DIR --adapter DIR
python -m benchmarks.serving.footprint --bundle DIR --adapter DIR --only memory

The bundle should hold three tasks on DeiT-Tiny; the adapter is one more task on the same backbone, trained on this
machine, so that its held-back images are here.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
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
from adaptertune_deploy.core.adapter import samples
from adaptertune_deploy.core.adapter.folder import read_config
from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.bundle.publish import add_task
from benchmarks import documents
from benchmarks.servers.processes import proportional_mb

RESULTS = documents.results("footprint")
ATD = [sys.executable, "-m", "adaptertune_deploy"]
REQUESTS = 100


def serve_memory(bundle: Path, image: bytes) -> dict[str, float]:
    """Start `atd serve`, ask for every task a hundred times, and return its memory before and after.

    Pages of weights that its sessions map count once, as the system holds them once; VmRSS counts every mapping.
    """
    command = [*ATD, "serve", "--bundle", str(bundle), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        line = server.stdout.readline() if server.stdout else ""
        url = re.search(r"http://\S+", line)
        if url is None:
            raise SystemExit(f"atd serve said: {line!r}")
        _answer(url[0], image)
        before = proportional_mb(server.pid)
        for _ in range(REQUESTS):
            _answer(url[0], image)
        after = proportional_mb(server.pid)
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
    return {"add_call_s": round(median(call), 4), "add_command_s": round(median(whole), 3)}


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def times(bundle: Path, adapter: Path) -> dict[str, float]:
    """Return the median seconds of --help, and of adding a task."""
    help_times = [_timed(lambda: subprocess.run([*ATD, "--help"], capture_output=True)) for _ in range(9)]
    return {**add_seconds(bundle, adapter), "help_s": round(median(help_times), 3)}


def main() -> None:
    """Measure and write the results; each part names its machine, and the part that is left out stays as it was."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--adapter", type=Path, required=True)
    parser.add_argument("--only", choices=("memory", "times"), help="one part alone; times want a quiet machine")
    given = parser.parse_args()
    manifest = read_manifest(given.bundle)
    machine = {"machine": dataclasses.asdict(describe_machine())}
    facts = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    facts |= {"backbone": manifest.backbone.name, "tasks": len(manifest.tasks)}
    if given.only != "times":
        _, path = samples.find(given.adapter, read_config(given.adapter).samples)[0]
        facts["memory"] = serve_memory(given.bundle, path.read_bytes()) | machine
    if given.only != "memory":
        facts["times"] = times(given.bundle, given.adapter) | machine
    documents.write(RESULTS, facts)
    Console().print_json(data=facts)


if __name__ == "__main__":
    main()
