"""What a task that floods a server does to the requests of another one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from time import monotonic
from typing import Any

from benchmarks.clients.http1 import Answers, Connection, Question, cycle, percentile
from benchmarks.servers.atd import command, started

CLIENTS, ROWS = 8, 64
# What a server is told; nothing is what most people tell it. With one thread the clients have a core for themselves.
WAYS: Mapping[str, tuple[str, ...]] = {
    "nothing": (),
    "--threads 1": ("--threads", "1"),
    "--threads 1 --max-batch 8": ("--threads", "1", "--max-batch", "8"),
}


def neighbours(bundle: Path, asked: Sequence[Question], seconds: float) -> dict[str, Any]:
    """Return what `noisy` does, way by way."""
    found = {}
    for way, options in WAYS.items():
        with started(command(bundle, "--no-tuning", *options)) as server:
            found[way] = asyncio.run(noisy(server.port, asked, seconds))
    return found


async def noisy(port: int, asked: Sequence[Question], seconds: float) -> dict[str, Any]:
    """Return a task's latencies alone, and beside eight clients that ask 64 rows of another one at a time."""
    quiet = [question for question in asked if question.task == asked[-1].task]
    loud = [question for question in asked if question.task == asked[0].task]
    body = b"".join(
        b'--b\r\nContent-Disposition: form-data; name="i"; filename="i"\r\n\r\n%s\r\n' % question.image
        for question, _ in zip(cycle(loud), range(ROWS), strict=False)
    )
    head = f"POST /v1/predict?tasks={loud[0].task} HTTP/1.1\r\nHost: x\r\n".encode()
    kind = b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n\r\n" % (len(body) + 7)
    request, statuses = head + kind + body + b"--b--\r\n", Counter[int]()

    async def shout() -> None:
        with closing(Connection(port)) as connection:
            while True:
                statuses[(await connection.ask(request))[0]] += 1
                await asyncio.sleep(0.05)

    async def whisper(enough: Callable[[], bool]) -> tuple[list[float], Answers]:
        turns, taken, found, until = cycle(quiet), [], Answers(), monotonic() + seconds
        with closing(Connection(port)) as connection:
            while monotonic() < until or not enough():
                question, begun = next(turns), monotonic()
                found.note(question, *await connection.ask(question.request))
                taken.append(1e3 * (monotonic() - begun))
                await asyncio.sleep(0.02)
        return taken, found

    alone, _ = await whisper(lambda: True)
    shouting = [asyncio.ensure_future(shout()) for _ in range(CLIENTS)]
    beside, answers = await whisper(lambda: statuses[200] > 0)
    for task in shouting:
        task.cancel()
    await asyncio.gather(*shouting, return_exceptions=True)
    p99 = {"alone_p99_ms": percentile(alone, 0.99), "beside_p99_ms": percentile(beside, 0.99)}
    rounded = {name: round(value, 2) for name, value in p99.items()}
    return {**rounded, "quiet": answers.statuses, "wrong": answers.wrong, "noisy": statuses}
