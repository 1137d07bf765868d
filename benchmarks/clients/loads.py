"""Two kinds of clients: some that ask as fast as they are answered, and many that ask when it occurs to them.

The second kind doesn't wait for answers, so a slow one keeps nobody from asking: its requests come at moments that were
fixed before, drawn (a Poisson process) or evenly spaced, and a latency counts from that moment, also where the client
was late itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter, process_time

from benchmarks.clients.http1 import Connection, percentile

CLIENTS = 16  # that wait, where a server is asked at its capacity
SAMPLES = 400
CONNECTIONS = 512  # of clients that don't wait: more means that the server no longer keeps up


@dataclass(frozen=True)
class Load:
    """What came of some requests, each answered with status 200.

    seconds: from the first request to the last answer.
    latencies: seconds, in the order in which the answers came.
    client_s: processor seconds of the clients.
    late: seconds by which requests left later than they should have; none of clients that wait.
    """

    seconds: float
    latencies: tuple[float, ...]
    client_s: float
    late: tuple[float, ...] = ()

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies) / self.seconds

    @property
    def client_ms(self) -> float:
        """Milliseconds of processor time of the clients for each answer."""
        return 1e3 * self.client_s / len(self.latencies)


def waiting(port: int, requests: Iterator[bytes], clients: int, seconds: float) -> Load:
    """Let clients ask one request after another for some time, one at least; all answers are waited for.

    Raises:
        RuntimeError: an answer that is not 200.
    """
    return asyncio.run(_waiting(port, requests, clients, seconds))


def together(port: int, groups: Iterator[Sequence[bytes]], seconds: float) -> Load:
    """Let one client ask groups of requests, each group at once over connections of their own, one after another.

    The latency is that of a group: until the last of its answers.

    Raises:
        RuntimeError: an answer that is not 200.
    """
    return asyncio.run(_together(port, groups, seconds))


def drawn(port: int, requests: Iterator[bytes], rate: float, seconds: float, seed: int) -> Load:
    """Send `rate` requests a second on average, at moments that are drawn, for some time; see the module.

    Raises:
        RuntimeError: an answer that is not 200, or a server that can't keep up.
    """
    return asyncio.run(_sent(port, requests, moments(rate, seconds, seed)))


def spaced(port: int, requests: Iterator[bytes], rate: float, seconds: float) -> Load:
    """Send `rate` requests a second, evenly spaced, for some time; see the module.

    Raises:
        RuntimeError: see drawn.
    """
    return asyncio.run(_sent(port, requests, [place / rate for place in range(max(1, round(rate * seconds)))]))


def moments(rate: float, seconds: float, seed: int) -> list[float]:
    """Return the moments of a Poisson process, in seconds from its begin."""
    draw = random.Random(seed)
    steps = itertools.accumulate(draw.expovariate(rate) for _ in itertools.count())
    return list(itertools.takewhile(lambda moment: moment < seconds, steps))


def p99_ms(seconds: Sequence[float]) -> float:
    """Return the 99th percentile in milliseconds."""
    return 1e3 * percentile(seconds, 0.99)


async def _waiting(port: int, requests: Iterator[bytes], clients: int, seconds: float) -> Load:
    latencies: list[float] = []
    stopwatch = _Stopwatch()
    until = perf_counter() + seconds

    async def client() -> None:
        with contextlib.closing(Connection(port)) as connection:
            while (began := perf_counter()) < until or not latencies:
                await _ask(connection, next(requests))
                latencies.append(perf_counter() - began)

    await _all([client() for _ in range(clients)])
    return stopwatch.load(latencies)


async def _together(port: int, groups: Iterator[Sequence[bytes]], seconds: float) -> Load:
    latencies: list[float] = []
    stopwatch = _Stopwatch()
    until = perf_counter() + seconds
    with contextlib.ExitStack() as stack:
        connections: list[Connection] = []
        while (began := perf_counter()) < until or not latencies:
            group = next(groups)
            while len(connections) < len(group):
                connections.append(stack.enter_context(contextlib.closing(Connection(port))))
            await _all([_ask(*pair) for pair in zip(connections, group, strict=False)])
            latencies.append(perf_counter() - began)
        return stopwatch.load(latencies)


async def _sent(port: int, requests: Iterator[bytes], at: Sequence[float]) -> Load:
    latencies: list[float] = []
    late: list[float] = []
    free: list[Connection] = []

    async def ask(moment: float) -> None:
        connection = free.pop() if free else opened()
        await _ask(connection, next(requests))
        latencies.append(perf_counter() - moment)
        free.append(connection)

    with contextlib.ExitStack() as stack:
        places = iter(range(CONNECTIONS))

        def opened() -> Connection:
            if next(places, None) is None:
                raise RuntimeError(f"{CONNECTIONS} requests are unanswered: the server does not keep up")
            return stack.enter_context(contextlib.closing(Connection(port)))

        stopwatch, begun = _Stopwatch(), perf_counter()
        asked = []
        for offset in at:
            await asyncio.sleep(max(0.0, begun + offset - perf_counter()))
            late.append(perf_counter() - begun - offset)
            asked.append(asyncio.ensure_future(ask(begun + offset)))
        await _all(asked)
        return stopwatch.load(latencies, late)


class _Stopwatch:
    """Runs from its making."""

    def __init__(self) -> None:
        self._wall, self._cpu = perf_counter(), process_time()

    def load(self, latencies: Sequence[float], late: Sequence[float] = ()) -> Load:
        return Load(perf_counter() - self._wall, tuple(latencies), process_time() - self._cpu, tuple(late))


async def _all(work: Sequence[Awaitable[None]]) -> None:
    """Await all of some work; where a part fails the others are ended before it is told."""
    tasks = [asyncio.ensure_future(part) for part in work]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _ask(connection: Connection, request: bytes) -> None:
    status, body = await connection.ask(request)
    if status != 200:
        raise RuntimeError(f"a request was answered with {status}: {body[:200]!r}")


def resampled(rounds: Sequence[Sequence[float]], of: Callable[[Sequence[float]], float]) -> list[float]:
    """Return a statistic of rounds drawn with replacement, many times: how far it could have come out otherwise."""
    draw = random.Random(0)
    return [of([value for one in draw.choices(rounds, k=len(rounds)) for value in one]) for _ in range(SAMPLES)]
