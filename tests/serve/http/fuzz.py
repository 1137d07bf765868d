"""Mutated requests against a real server: no answer but 2xx, 4xx, 503, 504 and 505, and nothing left behind.

    python -m tests.serve.http.fuzz 100000      (make fuzz)

The same number and seed send the same bytes.
"""

from __future__ import annotations

import base64
import ctypes
import gc
import gzip
import itertools
import json
import os
import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serving
from adaptertune_deploy.serve.protocol.bytes_tensor import pack
from adaptertune_deploy.serve.settings import Settings
from tests.builders import encode, make_image
from tests.serve.fakes import FakeEngine, make_shared
from tests.serve.http.raw_http import HEAD, LIVE, Wire, statuses

SETTINGS = Settings(header_timeout=0.05, body_grace=0.05, keep_alive=0.05, min_body_rate=10**9)
ALLOWED = {*range(200, 300), *range(400, 500), 503, 504, 505}
TOKENS = (
    b"\r\n",
    b"\x00",
    b"0",
    b"9" * 30,
    b"chunked",
    b"Transfer-Encoding: chunked\r\n",
    b"Content-Length: 5\r\n",
    HEAD,
    b"null",
    b"[1e999]",
    b"NaN",
    b"-1",
    b'"',
    b"}",
    b"\xff",
    b"%2e%2e%2f",
)
CLOSE = b"Connection: close\r\n"
CLIENTS, AT_ONCE = 16, 100
POOLED = 4  # threads that the server's pools may start when they are first needed
MAX_GROWTH = 12_000_000  # bytes: of what the allocator keeps, far below 7 kB for each request


def originals() -> list[bytes]:
    """Return requests that are answered with 200."""
    png = encode(make_image())
    entry = {"name": "image", "shape": [1, 1], "datatype": "BYTES"}
    document = json.dumps({"id": "1", "inputs": [{**entry, "data": [base64.b64encode(png).decode()]}]}).encode()
    pixels = {"name": "images", "shape": [1, 3, 32, 32], "datatype": "FP32", "data": [0.5] * 3072}
    head = json.dumps({"inputs": [{**entry, "parameters": {"binary_data_size": len(pack([png]))}}]}).encode()
    raw = bytes(3072 * 4)
    tensor = {name: pixels[name] for name in ("name", "shape", "datatype")}
    tensors = json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}]}).encode()
    field = b'--b\r\nContent-Disposition: form-data; name="top_k"\r\n\r\n2\r\n'
    form = field + b'--b\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\n\r\n' + png + b"\r\n--b--\r\n"
    infer = b"POST /v2/models/pets/infer HTTP/1.1\r\n"
    chunked = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (png[:100], png[100:])) + b"0\r\n\r\n"
    length = b"Inference-Header-Content-Length: %d\r\n"
    return [
        LIVE[:-2] + CLOSE + b"\r\n",
        _post(infer, document),
        _post(infer + length % len(head), head + pack([png])),
        _post(infer + length % 0, png),
        _post(infer + b"Content-Encoding: gzip\r\n", gzip.compress(document, mtime=0)),
        _post(infer.replace(b"pets", b"pets__tensor"), json.dumps({"inputs": [pixels]}).encode()),
        _post(b"POST /v1/predict?tasks=pets&top_k=2 HTTP/1.1\r\n", png),
        _post(b"POST /v1/predict HTTP/1.1\r\nContent-Type: multipart/form-data; boundary=b\r\n", form),
        _post(b"POST /v2/models/pets__tensor/infer HTTP/1.1\r\n" + length % len(tensors), tensors + raw),
        _post(b"POST /v2/logging HTTP/1.1\r\n", b'{"log_error": true}'),
        b"POST /v1/predict HTTP/1.1\r\n" + HEAD + CLOSE + b"Transfer-Encoding: chunked\r\n\r\n" + chunked,
    ]


def mutants(count: int, seed: int) -> Iterator[bytes]:
    """Yield requests with one to four changes each."""
    chance, sources = random.Random(seed), originals()
    for _ in range(count):
        data = bytearray(chance.choice(sources))
        for _ in range(chance.randint(1, 4)):
            _mutate(data, chance)
        yield bytes(data)


def _post(head: bytes, body: bytes) -> bytes:
    return head + HEAD + CLOSE + b"Content-Length: %d\r\n\r\n" % len(body) + body


def _mutate(data: bytearray, chance: random.Random) -> None:
    # Most of a request is its image; half of the changes hit what comes before it.
    place = chance.randrange(min(len(data), chance.choice((300, len(data)))) or 1)
    kind = chance.randrange(5)
    if kind == 0:
        data[place : place + 1] = bytes([chance.randrange(256)])
    elif kind == 1:
        del data[place : place + chance.randint(1, 20)]
    elif kind == 2:
        data[place:place] = chance.choice(TOKENS)
    elif kind == 3:
        data[place:place] = data[place : place + chance.randint(1, 200)]
    else:
        del data[place + chance.randrange(len(data) or 1) :]


def send(port: int, data: bytes) -> bytes:
    """Return what a request gets until the server closes its connection."""
    with Wire(port) as wire:
        try:
            return wire.send(data).read_all()
        except ConnectionError:
            return b""


def run(count: int, seed: int = 0) -> Counter[int]:
    """Send mutants; return how often each status came.

    Raises:
        AssertionError: a status that no request may get, another answer than before, descriptors, threads or memory
            that stayed, a budget that is not given back.
    """
    engine = FakeEngine()
    app = make_app(make_shared(engine), SETTINGS)
    found: Counter[int] = Counter()
    with serving(app) as url, ThreadPoolExecutor(CLIENTS) as clients:
        port = int(url.rpartition(":")[2])
        sent, begun = mutants(count, seed), logits(port)
        before = Footprint.now()
        for tenth in range(10):
            for _ in range(0, count // 10, AT_ONCE):
                for answer in clients.map(lambda data: send(port, data), itertools.islice(sent, AT_ONCE)):
                    found.update(statuses(answer))
                engine.forget()
            if tenth == 0:
                before = Footprint.now()
        assert set(found) <= ALLOWED, found
        assert logits(port) == begun
        service = app.state.service
        assert (service.bytes.used, service.images.budget.used, service.batcher.admitted) == (0, 0, 0)
        Footprint.now().check(before)
    return found


def logits(port: int) -> list[bytes]:
    """Return what is answered with the same bytes every time; every original must be answered with 200."""
    answers = [send(port, data) for data in originals()]
    assert [statuses(answer) for answer in answers] == [[200]] * len(answers)
    return [answer.partition(b"\r\n\r\n")[2] for answer in answers if b"latency_ms" not in answer]


@dataclass(frozen=True)
class Footprint:
    """What this process holds: open descriptors, threads, resident bytes."""

    descriptors: int
    threads: int
    resident: int

    @classmethod
    def now(cls) -> Footprint:
        """Return it after garbage was collected and free memory given back to the system."""
        gc.collect()
        getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: None)(0)  # glibc has it
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        descriptors = len(list(Path("/proc/self/fd").iterdir()))
        return cls(descriptors, threading.active_count(), pages * os.sysconf("SC_PAGE_SIZE"))

    def check(self, before: Footprint) -> None:
        """Raise AssertionError where it has grown."""
        assert self.descriptors <= before.descriptors + CLIENTS, (before, self)
        assert self.threads <= before.threads + POOLED, (before, self)
        assert self.resident <= before.resident + MAX_GROWTH, (before, self)


if __name__ == "__main__":
    print(*(f"{status}: {times}" for status, times in sorted(run(int(sys.argv[1])).items())), sep="\n")
