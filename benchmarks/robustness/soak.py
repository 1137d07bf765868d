"""Ten minutes at twice what a server can do, with good requests and bad ones, and what a noisy task does to another.

    python -m benchmarks.robustness.soak               (make soak)
    python -m benchmarks.robustness.soak --noisy       (make noisy: the last part alone)

A real `atd serve` on this machine, its engine on one core, the clients and all else on the others: on a quiet machine
of two cores or more. First its capacity: clients that ask as fast as they are answered. Then good requests come at
twice that rate, whatever is answered, beside attacks one after another and silent clients; each answer is compared with
the one that was computed offline. Everything stays on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import monotonic
from typing import Any

from PIL import Image, ImageColor

from adaptertune_deploy.bench.machine import describe_machine
from adaptertune_deploy.engines.options import EngineOptions
from adaptertune_deploy.serve.offline.opened import OpenBundle
from adaptertune_deploy.serve.sessions.session import open_session
from benchmarks import documents
from benchmarks.clients.health_probe import probing
from benchmarks.clients.http1 import Answers, Connection, Connections, Question, cycle, percentile, questions
from benchmarks.robustness.bad_traffic import Tally, attacks, harm
from benchmarks.robustness.noisy_neighbour import neighbours
from benchmarks.servers.atd import Server, served

RESULTS = documents.results("soak")
MODEL, TASKS, IMAGES = "deit_tiny_patch16_224", 3, 16
CLIENTS, CONNECTIONS = 24, 300
SAMPLE_S, PAUSE_S = 1.0, 0.2


async def capacity(port: int, asked: Sequence[Question], seconds: float) -> tuple[float, Answers]:
    """Return rows answered a second to clients that ask as fast as they are answered."""
    turns, found, until = cycle(asked), Answers(), monotonic() + seconds

    async def client() -> None:
        with contextlib.closing(Connection(port)) as connection:
            while monotonic() < until:
                question = next(turns)
                found.note(question, *await connection.ask(question.request))

    begun = monotonic()
    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    return found.statuses[200] / (monotonic() - begun), found


async def overload(server: Server, asked: Sequence[Question], rate: float, seconds: float) -> dict[str, Any]:
    """Ask `rate` times a second whatever is answered, until every attack has come too; return what came of it."""
    turns, found, tally = cycle(asked), Answers(), Tally()
    connections = Connections(server.port, CONNECTIONS)
    memory: list[float] = []
    pending: set[asyncio.Task[None]] = set()

    async def ask(question: Question) -> None:
        answer = await connections.ask(question.request)
        if answer is not None:
            found.note(question, *answer)

    async def watch() -> None:
        while True:
            memory.append(server.resident_mb())
            await asyncio.sleep(SAMPLE_S)

    harming = harm(server.port, attacks(asked[0]), min(PAUSE_S, seconds / 100), tally)
    beside = [asyncio.ensure_future(watch()), asyncio.ensure_future(harming)]
    begun, sent = monotonic(), 0
    while monotonic() < begun + seconds or not tally.rounds:
        while sent < rate * (monotonic() - begun):
            task = asyncio.ensure_future(ask(next(turns)))
            pending.add(task)
            task.add_done_callback(pending.discard)
            sent += 1
        await asyncio.sleep(min(0.01, 1 / rate))
    elapsed, answered = monotonic() - begun, found.statuses[200]
    await asyncio.gather(*pending)
    for work in beside:
        work.cancel()
    await asyncio.gather(*beside, return_exceptions=True)
    connections.close()
    return {
        "seconds": round(elapsed, 1),
        "sent": sent,
        "not_sent": connections.short,
        "asked_again": connections.asked_again,
        "rows_per_s": round(answered / elapsed, 2),
        "statuses": found.statuses,
        "wrong": found.wrong,
        "attacks": tally.statuses,
        "attacks_wrong": tally.wrong,
        "memory_mb": memory,
        "descriptors": server.descriptors(),
    }


def health(seconds: Sequence[float | None]) -> dict[str, Any]:
    """Return what probes came to, in milliseconds."""
    times = [1e3 * value for value in seconds if value is not None]
    shares = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
    found = {name: round(percentile(times, share), 2) for name, share in shares.items()}
    return {"probes": len(seconds), "failed": len(seconds) - len(times), **found}


def growth(memory_mb: Sequence[float]) -> float:
    """Return by how many MB the last quarter of a run lies above its second one, medians both."""
    quarter = max(1, len(memory_mb) // 4)
    return round(
        statistics.median(memory_mb[-quarter:]) - statistics.median(memory_mb[quarter : 2 * quarter] or memory_mb), 1
    )


def make_bundle(scratch: Path) -> Path:
    """Export a bundle of random tasks; speed does not depend on the weights."""
    from benchmarks.inference.export_cost import export, write_folders, write_images

    folders = write_folders(MODEL, TASKS, scratch / "adapters")
    export(MODEL, folders, scratch / "bundle", write_images(scratch / "images"), merge=False)
    return scratch / "bundle"


def picture(place: int) -> bytes:
    """Return a PNG unlike the others: networks with random weights tell little but colours and edges apart."""
    colour, size = ImageColor.getrgb(f"hsl({360 * place // IMAGES}, 90%, {30 + 5 * (place % 8)}%)"), 4 + 5 * place
    image = Image.new("RGB", (96, 96), colour)
    image.paste((255 - colour[0], colour[2], 255 - colour[1]), (0, 0, size, 96 - size // 2))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def known(bundle: Path) -> list[Question]:
    """Return questions about the bundle's tasks, with the answers that it gives offline."""
    images = [picture(place) for place in range(IMAGES)]
    with contextlib.closing(OpenBundle(open_session(bundle, options=EngineOptions(threads=1)))) as opened:
        return questions(opened, images)


def measure(bundle: Path, seconds: float, warm_s: float, most_per_s: float) -> dict[str, Any]:
    """Return everything; see the module."""
    asked = known(bundle)
    with served(bundle) as server, probing(server.port) as probes:
        rate, before = asyncio.run(capacity(server.port, asked, warm_s))
        load = asyncio.run(overload(server, asked, min(2 * rate, most_per_s), seconds))
        after, _ = asyncio.run(capacity(server.port, asked, warm_s))
    load["memory_growth_mb"] = growth(load.pop("memory_mb"))
    load["wrong"] = [*before.wrong, *load["wrong"]]
    loud = neighbours(bundle, asked, warm_s)
    rates = {"before": round(rate, 2), "after": round(after, 2)}
    return {"capacity_rows_per_s": rates, "overload": load, "health": health(probes), "noisy_neighbour": loud}


def before(results: Path) -> dict[str, Any]:
    """Return what was measured before.

    Raises:
        SystemExit: nothing was, or it was on another machine: one page tells of one.
    """
    facts: dict[str, Any] = json.loads(results.read_text()) if results.exists() else {}
    if facts.get("machine") != json.loads(json.dumps(asdict(describe_machine()))):
        raise SystemExit(f"{results} is not of this machine with these versions; run all of it, without --noisy")
    return facts


def main(arguments: list[str]) -> None:
    """Measure, print and write the JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.robustness.soak", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--seconds", type=float, default=600, help="of overload (default: %(default)s)")
    parser.add_argument("--warm", type=float, default=30, help="seconds of each other part (default: %(default)s)")
    parser.add_argument("--most", type=float, default=2000, help="requests a second at most (default: %(default)s)")
    parser.add_argument("--bundle", type=Path, help=f"to serve; else one of {MODEL} with random tasks is made")
    parser.add_argument("--noisy", action="store_true", help="the noisy neighbour alone, beside earlier results")
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the numbers (default: %(default)s)")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        bundle = given.bundle or make_bundle(Path(scratch))
        if given.noisy:
            facts = {**before(given.json), "noisy_neighbour": neighbours(bundle, known(bundle), given.warm)}
        else:
            facts = {"machine": asdict(describe_machine()), **measure(bundle, given.seconds, given.warm, given.most)}
    print(documents.write(given.json, facts), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
