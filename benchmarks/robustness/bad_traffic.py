"""What a server on a network meets: requests that must be refused, and clients that harm it, one kind after another."""

from __future__ import annotations

import asyncio
import gzip
import io
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from PIL import Image

from adaptertune_deploy.serve.timing.waiting import within
from benchmarks.clients.http1 import HOST, Question, post

PATIENCE_S = 30.0
LEAVES = "a client that leaves"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LIVE = b"GET /v2/health/live HTTP/1.1\r\n" + HOST + b"\r\n"


@dataclass(frozen=True)
class Attack:
    """Bytes that a client sends, and what may come of it.

    expected: statuses, one of which must come; empty where nobody waits for an answer.
    """

    request: bytes
    expected: tuple[int, ...] = (400,)


def attacks(question: Question) -> dict[str, Attack]:
    """Return the ways to harm, by name; `question` is one that would be answered."""
    infer = f"/v2/models/{question.task}/infer"
    image, gz = question.image, b"Content-Encoding: gzip\r\n"
    return {
        "noise": Attack(b"\x00\x01\x16\x03\r\n\r\n"),
        "two lengths": Attack(post(infer, b"", b"Content-Length: 4\r\n" + CHUNKED) + LIVE),
        "a head of a megabyte": Attack(LIVE[:-2] + b"A: " + b"x" * 1_000_000 + b"\r\n\r\n", (431,)),
        "20,000 chunks": Attack(_chunks(infer, 20_000)),
        "a gzip bomb": Attack(post(infer, gzip.compress(bytes(65_000_000), mtime=0), gz), (413,)),
        "millions of JSON values": Attack(
            post(infer, gzip.compress(b'{"inputs":[],"x":[' + b"[]," * 6_000_000 + b"[]]}", mtime=0), gz)
        ),
        "a cut image": Attack(post("/v1/predict", image[: len(image) // 2])),
        "no image": Attack(post("/v1/predict", b"<svg/>"), (415,)),
        "49 megapixels": Attack(post("/v1/predict", _flat(7000)), (413,)),
        "9 megapixels in 1 kB": Attack(post(f"/v1/predict?tasks={question.task}", _flat(3000)), (200, 503, 504)),
        "an unknown task": Attack(post("/v2/models/../etc/infer", image), (404,)),
        "a deadline that has passed": Attack(
            post(f"/v1/predict?tasks={question.task}", image, b"X-Request-Timeout: 0.000001\r\n"), (503, 504)
        ),
        "an endless upload": Attack(
            b"POST /nothing HTTP/1.1\r\n" + HOST + b"Content-Length: 100000000000\r\n\r\n" + bytes(2_000_000), (404,)
        ),
        LEAVES: Attack(post(f"/v1/predict?tasks={question.task}", image), ()),
        "a head that never ends": Attack(LIVE[:-2], ()),
        "a body that never ends": Attack(post(infer, bytes(100))[:-50], ()),
        "a silent client": Attack(b"", ()),
    }


def _chunks(path: str, count: int) -> bytes:
    return b"POST %s HTTP/1.1\r\n%s%s\r\n%s0\r\n\r\n" % (path.encode(), HOST, CHUNKED, b"1\r\nx\r\n" * count)


def _flat(side: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (side, side)).save(buffer, "PNG")
    return buffer.getvalue()


@dataclass
class Tally:
    """What came of them.

    statuses: attack -> status -> how often; 0 where the connection broke.
    wrong: what no attack may get.
    rounds: how often every attack has come.
    """

    statuses: defaultdict[str, Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    wrong: list[str] = field(default_factory=list)
    rounds: int = 0

    def note(self, name: str, attack: Attack, status: int) -> None:
        """Count an answer."""
        self.statuses[name][status] += 1
        if attack.expected and status not in (*attack.expected, 0):
            self.wrong.append(f"{name}: {status}")


async def harm(port: int, kinds: Mapping[str, Attack], pause: float, tally: Tally, held: int = 32) -> None:
    """Attack a server on this machine, one kind after another, until cancelled.

    Clients that say nothing more stay connected, the last `held` of them.
    """
    opened: list[asyncio.StreamWriter] = []
    try:
        while True:
            for name, attack in kinds.items():
                await _attack(port, name, attack, tally, opened)
                opened[:] = [writer for writer in opened if not writer.is_closing()]
                while len(opened) > held:
                    opened.pop(0).close()
                await asyncio.sleep(pause)
            tally.rounds += 1
    finally:
        for writer in opened:
            writer.close()


async def _attack(port: int, name: str, attack: Attack, tally: Tally, opened: list[asyncio.StreamWriter]) -> None:
    """Attack once; the connection is left open where its client stays on it."""
    try:
        reader, writer = await within(_connect(port, opened), PATIENCE_S)
    except (OSError, asyncio.TimeoutError):
        tally.wrong.append(f"{name}: can't connect")
        return
    stays = False
    try:
        writer.write(attack.request)
        await writer.drain()
        if attack.expected:
            line = await within(reader.readline(), PATIENCE_S)
            tally.note(name, attack, int(line.split()[1]) if line else 0)
        else:
            tally.note(name, attack, 0)
            stays = name != LEAVES
    except (OSError, asyncio.TimeoutError):
        tally.note(name, attack, 0)
    finally:
        if not stays:
            writer.close()


async def _connect(port: int, opened: list[asyncio.StreamWriter]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect, and note the connection before anybody awaits it: one who is cancelled just then can't close it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    opened.append(writer)
    return reader, writer
