"""Whether what one image costs at half load says how many a second a machine gives, in one process and on Ray.

    python -m benchmarks.serving.sizing      (make bench-sizing)

One `atd serve`, and two replicas of it on Ray Serve, are asked in turn, round by round: as fast as they answer, and
then half of that at moments that are drawn. What an image takes of the processor at half load says how many there can
be; docs/sizing.md does the same with a server's own metrics. Clients run on the same cores, and their time is counted
too. On a quiet machine of two cores or more; writes docs/results/sizing.md.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from rich.console import Console
from rich.progress import track

from adaptertune_deploy.bench.machine import describe_machine
from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.serve.listening.address import bind
from benchmarks import documents, wording
from benchmarks.clients.http1 import cycle, percentile
from benchmarks.clients.loads import CLIENTS, Load, drawn, waiting
from benchmarks.clients.photographs import photographs
from benchmarks.servers.atd import Server, command, started
from benchmarks.servers.processes import cpu_s
from benchmarks.serving.asked import for_people
from benchmarks.serving.rounded import ratio, spread

RESULTS, PAGE = documents.results("sizing"), documents.page("sizing")
MODEL, TASKS, IMAGES, REPLICAS = "deit_tiny_patch16_224", 10, 16, 2
SHARES = {"p50": 0.5, "p99": 0.99}
PAGE_TEXT = """# Sizing: what one image costs, and what that says

Written by `make bench-sizing` from `benchmarks/results/sizing.json`; do not edit. What for: [sizing](../sizing.md).

{where}; {rounds} rounds, {clients} clients on the same cores, whose
{client_ms} ms an image count too. Medians with quartiles in brackets; cost and latency are those at half load.

| way | cores while idle | processor ms an image | images/s that says | images/s there were | ratio | p50, p99 ms |
|---|---|---|---|---|---|---|
{rows}
"""
ALONE, ON_RAY = "one process", f"{REPLICAS} replicas on Ray Serve"


@dataclass
class Way:
    """One way to serve, and what each round found.

    idle: cores that it takes while nobody asks.
    cost_ms: processor milliseconds of an answer at half load, in all of its processes.
    """

    server: Server
    idle: list[float] = field(default_factory=list)
    full: list[Load] = field(default_factory=list)
    half: list[Load] = field(default_factory=list)
    cost_ms: list[float] = field(default_factory=list)

    def round(self, requests: Iterator[bytes], seconds: float) -> None:
        """Measure it once: idle, as fast as it answers, and at half of that."""
        before, began = cpu_s(self.server.pid), monotonic()
        sleep(seconds)
        self.idle.append((cpu_s(self.server.pid) - before) / (monotonic() - began))
        full = waiting(self.server.port, requests, CLIENTS, 5 * seconds)
        before = cpu_s(self.server.pid)
        half = drawn(self.server.port, requests, full.rate / 2, 8 * seconds, len(self.half))
        self.cost_ms.append(1e3 * (cpu_s(self.server.pid) - before) / len(half.latencies))
        self.full.append(full)
        self.half.append(half)

    def facts(self, cores: int) -> dict[str, Any]:
        """Return what all rounds came to, and how the rule's answer lies to what there was."""
        pairs = zip(self.cost_ms, (load.client_ms for load in self.half), strict=True)
        predicted = [possible(cores, cost + client) for cost, client in pairs]
        rates = [load.rate for load in self.full]
        latencies = [value for load in self.half for value in load.latencies]
        return {
            "idle_cores": spread(self.idle),
            "cost_ms": spread(self.cost_ms),
            "client_ms": spread([load.client_ms for load in self.half]),
            "predicted_per_s": spread(predicted),
            "per_s": spread(rates),
            "to_predicted": ratio(rates, predicted),
            "half_ms": {name: round(1e3 * percentile(latencies, share), 3) for name, share in SHARES.items()},
        }


def possible(cores: float, milliseconds: float) -> float:
    """Return how many answers a second so many cores give, of which each takes so many milliseconds of one."""
    return 1e3 * cores / milliseconds


@contextlib.contextmanager
def opened(bundle: Path, ray: bool) -> Iterator[dict[str, Way]]:
    """Hold the servers for the length of a `with` block."""
    with contextlib.ExitStack() as stack:
        found = {ALONE: Way(stack.enter_context(started(command(bundle, "--no-tuning"))))}
        if ray:
            with bind("127.0.0.1", 0) as free:
                port = free.getsockname()[1]
            words = command(bundle, "--ray", "--replicas", str(REPLICAS), "--threads", "1")
            words[words.index("--port") + 1] = str(port)
            found[ON_RAY] = Way(stack.enter_context(started(words)))
        yield found


def measure(bundle: Path, rounds: int, seconds: float, ray: bool, console: Console) -> dict[str, Any]:
    """Return everything; see the module."""
    machine = describe_machine()
    manifest = read_manifest(bundle)
    names = [record.task.name for record in manifest.tasks]
    images = photographs(IMAGES)
    requests = cycle([for_people([names[place % len(names)]], image) for place, image in enumerate(images)])
    with opened(bundle, ray) as ways:
        for way in ways.values():
            waiting(way.server.port, requests, CLIENTS, seconds)
        for _ in track(range(rounds), "measuring", console=console, refresh_per_second=0.2):
            for way in ways.values():
                way.round(requests, seconds)
        facts = {name: way.facts(machine.cores) for name, way in ways.items()}
    settings = {
        "model": manifest.backbone.name,
        "tasks": len(names),
        "rounds": rounds,
        "seconds": seconds,
        "clients": CLIENTS,
    }
    return {"machine": dataclasses.asdict(machine), "settings": settings, "ways": facts}


def page(found: Mapping[str, Any]) -> str:
    """Return docs/results/sizing.md."""
    machine, settings = found["machine"], found["settings"]

    rows = [
        wording.row(
            name,
            wording.spread(way["idle_cores"], 2),
            wording.spread(way["cost_ms"], 2),
            wording.spread(way["predicted_per_s"]),
            wording.spread(way["per_s"]),
            wording.spread(way["to_predicted"], 2),
            f"{way['half_ms']['p50']:.1f}, {way['half_ms']['p99']:.1f}",
        )
        for name, way in found["ways"].items()
    ]
    clients = wording.spread(next(iter(found["ways"].values()))["client_ms"], 2)
    where = f"{machine['cores']} cores of {machine['processor']}; {settings['model']}, {settings['tasks']} tasks"
    return PAGE_TEXT.format(
        where=where, rounds=settings["rounds"], clients=settings["clients"], client_ms=clients, rows="\n".join(rows)
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="instead of random tasks")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument(
        "--seconds", type=float, default=4.0, help="of one part of a round; the loads take several times that"
    )
    parser.add_argument("--no-ray", dest="ray", action="store_false", help="one process alone")
    parser.add_argument("--json", type=Path, default=RESULTS)
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        bundle = given.bundle
        if bundle is None:
            from benchmarks.serving.measure import Bundles

            bundle = Bundles(Path(scratch)).make(MODEL, TASKS)
        found = measure(bundle, given.rounds, given.seconds, given.ray, Console(stderr=True))
    for path, text in ((given.json, json.dumps(found, indent=2) + "\n"), (given.page, page(found))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
