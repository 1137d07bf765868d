"""A client light enough to ask for more than a server can do, and its questions, whose answers are known."""

from __future__ import annotations

import asyncio
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from adaptertune_deploy.serve.offline.opened import OpenBundle
from adaptertune_deploy.serve.timing.waiting import within

# Of a probability: the server prints six digits, and rows of one batch differ in the last bits.
TOLERANCE = 3e-6
LIMIT_S = 90.0
HOST = b"Host: localhost\r\n"


@dataclass(frozen=True)
class Question:
    """One image asked for one task.

    image: the encoded image.
    expected: probability of each of the task's classes, by its index, as computed offline.
    """

    task: str
    image: bytes
    expected: dict[int, float]

    @property
    def request(self) -> bytes:
        """The whole request."""
        path = f"/v1/predict?tasks={self.task}&top_k={len(self.expected)}"
        return post(path, self.image)

    def fault(self, body: bytes) -> str | None:
        """Return what is wrong with an answer, or None."""
        (image,) = json.loads(body)["images"]
        found = {label["index"]: label["probability"] for label in image["tasks"].get(self.task, [])}
        if found.keys() != self.expected.keys():
            return f"{self.task}: classes {sorted(found)}"
        off = max(abs(found[index] - value) for index, value in self.expected.items())
        return None if off <= TOLERANCE else f"{self.task}: a probability is off by {off:.2g}"


def questions(bundle: OpenBundle, images: Sequence[bytes]) -> list[Question]:
    """Return every image asked for every task.

    Raises:
        ValueError: two questions have answers so alike that exchanging them would not be noticed.
    """
    found = [
        Question(answer.task, images[answer.image], {label.index: label.probability for label in answer.top})
        for task in bundle.tasks
        for answer in bundle.predict(list(images), task.name, len(task.labels))
    ]
    for place, one in enumerate(found):
        for other in found[:place]:
            if one.expected.keys() == other.expected.keys() and _apart(one, other) < 4 * TOLERANCE:
                raise ValueError(f"two answers of {one.task} and {other.task} are alike; take other images")
    return found


def _apart(one: Question, other: Question) -> float:
    return max(abs(value - other.expected[index]) for index, value in one.expected.items())


@dataclass
class Answers:
    """What good requests came to.

    statuses: how often each came. wrong: answers that are not the offline ones, and statuses that nothing explains.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def note(self, question: Question, status: int, body: bytes) -> None:
        """Take an answer in."""
        self.statuses[status] += 1
        if status not in (200, 503):
            self.wrong.append(f"{status}: {body[:100]!r}")
        elif status == 200 and (fault := question.fault(body)):
            self.wrong.append(fault)


def post(path: str, body: bytes, headers: bytes = b"") -> bytes:
    """Return a POST request; `headers` are whole lines."""
    return b"POST %s HTTP/1.1\r\n%s%sContent-Length: %d\r\n\r\n%s" % (path.encode(), HOST, headers, len(body), body)


class Connection:
    """One connection, opened when it is needed and kept.

    A server may close one that idles while a request is under way to it. RFC 9112, section 9.3.1 has a client ask again
    on a new connection then, once, since no answer had begun and asking twice changes nothing.

    Attributes:
        asked_again: requests of which that was so.
    """

    def __init__(self, port: int) -> None:
        """Know the server's port on this machine."""
        self.asked_again = 0
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Return status and body of the answer; status 0 where the connection broke before one came."""
        try:
            return await within(self._ask(request), LIMIT_S)
        except (OSError, EOFError, asyncio.TimeoutError) as error:
            self.close()
            return 0, repr(error).encode()

    def close(self) -> None:
        """Close it; the next question opens it anew."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None

    async def _ask(self, request: bytes) -> tuple[int, bytes]:
        if self._streams is not None and self._streams[0].at_eof():
            self.close()  # the server closed it while it idled
        kept = self._streams is not None
        try:
            return await self._exchange(request)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            if not kept or (isinstance(error, asyncio.IncompleteReadError) and error.partial):
                raise
        self.close()
        self.asked_again += 1
        return await self._exchange(request)

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        body = await reader.readexactly(length)
        if b"connection: close" in head:
            self.close()
        return int(head.split(b" ", 2)[1]), body


class Connections:
    """Connections that are free, so many at most."""

    def __init__(self, port: int, most: int) -> None:
        """Open none yet."""
        self._all = [Connection(port) for _ in range(most)]
        self._free = list(self._all)
        self.short = 0  # questions for which none was free

    @property
    def asked_again(self) -> int:
        """Requests that were asked again; see Connection."""
        return sum(connection.asked_again for connection in self._all)

    async def ask(self, request: bytes) -> tuple[int, bytes] | None:
        """Return status and body of an answer; None where every connection is in use."""
        if not self._free:
            self.short += 1
            return None
        connection = self._free.pop()
        try:
            return await connection.ask(request)
        finally:
            self._free.append(connection)

    def close(self) -> None:
        """Close those that are free."""
        for connection in self._free:
            connection.close()


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that so large a share of all does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def cycle(items: Sequence[Any]) -> Iterator[Any]:
    """Yield items for ever, in an order in which neighbours differ in image and task."""
    step = next(step for step in range(len(items) * 2 // 3 + 1, 0, -1) if math.gcd(step, len(items)) == 1)
    place = 0
    while True:
        yield items[place % len(items)]
        place += step
