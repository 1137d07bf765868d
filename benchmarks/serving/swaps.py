"""How long it takes to replace a task of a running server, and what requests notice of it.

    python -m benchmarks.serving.swaps --model deit_tiny_patch16_224 --swaps 500

A bundle is made in a temporary folder with tasks of random tensors, and served by this process on ONNX Runtime's CPU
provider. Both are measured over HTTP on the loopback interface, by clients in the same process: a swap from its request
to its answer, when the new version is what new requests get, with nothing else to do and beside clients that ask all
the time; requests with swaps beside them and without. All four take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import http.client
import io
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

from adaptertune_deploy.bench.machine import describe_machine
from adaptertune_deploy.bench.spread import Spread, p99
from adaptertune_deploy.core.adapter import folder as artefact
from adaptertune_deploy.core.adapter.identity import Identity
from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle import graph_facts
from adaptertune_deploy.core.bundle.manifest import FORMAT_VERSION, SHARED, Manifest, TaskRecord, tensor_file
from adaptertune_deploy.core.bundle.manifest_changes import with_task
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.engines.onnx import signature
from adaptertune_deploy.engines.options import ON_CPU
from adaptertune_deploy.engines.verification.contract import input_types
from adaptertune_deploy.serve.http.admin import bind_admin
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from adaptertune_deploy.serve.sessions.opener import Opener
from adaptertune_deploy.serve.sessions.session import open_from
from adaptertune_deploy.serve.tasks.bundle_source import BundleSource
from benchmarks import documents
from benchmarks.inference.bank import CLASSES, RANK, Kind, export, make_task

RESULTS = documents.results("swaps")
SECONDS = 60
OPSET, IR_VERSION = 20, 10


@dataclass(frozen=True)
class Latency:
    """Milliseconds. low, high: the quartiles."""

    count: int
    low: float
    p50: float
    high: float
    p99: float
    largest: float

    @classmethod
    def of(cls, seconds: list[float]) -> Latency:
        """Return the percentiles of some times."""
        values = [round(1000 * second, 3) for second in seconds]
        spread = Spread.of(values)
        return cls(len(values), spread.low, spread.median, spread.high, p99(values), max(values))


class Client:
    """One connection that asks and is answered with status 200, or ends the measurement."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=SECONDS)

    def post(self, path: str, body: bytes = b"") -> float:
        """Return the seconds from a request to the end of its answer."""
        started = time.perf_counter()
        self._connection.request("POST", path, body)
        answer = self._connection.getresponse()
        text = answer.read()
        seconds = time.perf_counter() - started
        if answer.status != 200:
            raise SystemExit(f"{path}: status {answer.status}: {text[:200]!r}")
        return seconds

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class SwappedBundle:
    """A bundle of tasks with random tensors, of which one is replaced again and again.

    Args:
        folder: an empty one.
        graph: a shared graph.
        tasks: how many.
    """

    def __init__(self, folder: Path, graph: bytes, tasks: int) -> None:
        self.folder = folder
        self._facts = facts = graph_facts.from_metadata(signature.read(graph, "the graph").metadata, "the graph")
        record = bundle.record_graph(graph, SHARED, input_types(facts), opset=OPSET, ir_version=IR_VERSION)
        files.write_bytes(folder / record.file, graph)
        self.manifest = Manifest(FORMAT_VERSION, facts.backbone, facts.preprocess, facts.slots, (), (record,))
        for number in range(tasks):
            self._put(f"task{number}", number)
        bundle.write_manifest(folder, self.manifest)

    def replace(self, seed: int) -> None:
        """Give task0 other tensors."""
        old = next(record for record in self.manifest.tasks if record.task.name == "task0")
        self._put("task0", seed)
        bundle.write_manifest(self.folder, self.manifest)
        (self.folder / old.file).unlink()

    def _put(self, name: str, seed: int) -> None:
        made = make_task(self._facts.backbone, self._facts.slots, Kind(RANK, CLASSES, 1), seed)
        task = dataclasses.replace(made.task, name=name)
        data = artefact.pack(made.tensors, Identity(task, self._facts.backbone, self._facts.preprocess))
        digest = files.sha256_bytes(data)
        record = TaskRecord(task, tensor_file(name, digest), digest)
        files.write_bytes(self.folder / record.file, data)
        self.manifest = with_task(self.manifest, record)


@contextlib.contextmanager
def asking(url: str, clients: int, body: bytes) -> Iterator[list[float]]:
    """Let clients ask for task0 all the time; yields the list that their times go into."""
    done, times = threading.Event(), list[float]()

    def ask() -> None:
        client = Client(url)
        while not done.is_set():
            times.append(client.post("/v1/predict?tasks=task0", body))
        client.close()

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield times
    finally:
        done.set()
        for thread in threads:
            thread.join()


def measure(graph: bytes, tasks: int, swaps: int, clients: int) -> dict[str, object]:
    """Return the percentiles of swaps and requests, each alone and beside the other, in turns of a tenth."""
    picture = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    Image.fromarray(noise).save(picture, "JPEG")
    body = picture.getvalue()
    swapped: dict[bool, list[float]] = {False: [], True: []}
    asked: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as place:
        held = SwappedBundle(Path(place), graph, tasks)
        opener = Opener(held.folder, held.manifest, ON_CPU)
        session = open_from(opener)
        admin = bind_admin("127.0.0.1:0", None)
        app = make_app(session, source=BundleSource(opener, session.form))
        with serving(app, admin=admin) as url, contextlib.closing(Client(admin.where)) as changes:
            _wait(url)
            seed = tasks
            for _ in range(10):
                for beside in (False, True):
                    with asking(url, clients if beside else 0, body) as times:
                        for _ in range(max(1, swaps // 10)):
                            seed += 1
                            held.replace(seed)
                            swapped[beside].append(changes.post("/v2/repository/models/task0/load"))
                    asked[True] += times
                with asking(url, clients, body) as times:
                    time.sleep(sum(swapped[True][-max(1, swaps // 10) :]))
                asked[False] += times
        session.close()
    return {
        "swap_ms": dataclasses.asdict(Latency.of(swapped[False])),
        "swap_beside_requests_ms": dataclasses.asdict(Latency.of(swapped[True])),
        "request_ms": dataclasses.asdict(Latency.of(asked[False])),
        "request_beside_swaps_ms": dataclasses.asdict(Latency.of(asked[True])),
    }


def _wait(url: str) -> None:
    """Return when the server is ready."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=SECONDS)
    status = 0
    while status != 200:
        connection.request("GET", "/v2/health/ready")
        answer = connection.getresponse()
        answer.read()
        status = answer.status
    connection.close()


def main(arguments: list[str]) -> None:
    """Measure, print and write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving.swaps", description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="deit_tiny_patch16_224", help="timm name (default: %(default)s)")
    parser.add_argument("--tasks", type=int, default=10, help="that are served (default: %(default)s)")
    parser.add_argument("--swaps", type=int, default=500, help="of one of them (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=2, help="that ask meanwhile (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the numbers (default: %(default)s)")
    given = parser.parse_args(arguments)
    facts = {
        "machine": dataclasses.asdict(describe_machine()),
        "model": given.model,
        "engine": "onnxruntime",
        "tasks": given.tasks,
        "rank": RANK,
        "clients": given.clients,
        **measure(export(given.model), given.tasks, given.swaps, given.clients),
    }
    print(documents.write(given.json, facts), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
