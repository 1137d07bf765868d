"""What it costs to keep answers: a request that is known, one that is not, and one to a server that keeps none.

    python -m benchmarks.serving.kept_answers --model deit_tiny_patch16_224

Two servers in processes of their own answer from one bundle of one task with random tensors, one of them with --cache.
One client asks them in turns over the loopback interface: the server without it and the one with it about images that
nobody has asked about, and the latter about one that it knows. Images that differ are the same picture with other bytes
behind it, which decoders skip, or the same pixels with another first one.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
from PIL import Image

from adaptertune_deploy.bench.machine import describe_machine
from benchmarks import documents
from benchmarks.inference.bank import export
from benchmarks.servers.atd import Server, served
from benchmarks.serving.swaps import Latency, SwappedBundle

RESULTS = documents.results("kept_answers")
PICTURES = {"JPEG of 500 x 375": (500, 375), "JPEG of 4000 x 3000": (4000, 3000)}
SLOWER = 10  # times fewer requests about the larger ones
SECONDS = 60
Request = tuple[str, bytes, dict[str, str]]


def picture(size: tuple[int, int]) -> bytes:
    """Return a JPEG of width and height, coarse colours under a little noise, as photographs are."""
    drawn = np.random.default_rng(0)
    coarse = Image.fromarray(drawn.integers(0, 256, (12, 16, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    noise = drawn.normal(0, 6, (size[1], size[0], 1))
    stream = io.BytesIO()
    Image.fromarray(np.clip(np.asarray(coarse) + noise, 0, 255).astype(np.uint8)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def of_pictures(data: bytes) -> Iterator[Request]:
    """Yield requests about one picture that no hash takes for the same; the first again and again is a known one."""
    for number in itertools.count():
        yield "/v1/predict?tasks=task0", data + number.to_bytes(8, "little"), {}


def of_pixels(side: int) -> Iterator[Request]:
    """Yield such requests about pixels, float32 [1, 3, side, side] in binary form."""
    pixels = np.random.default_rng(0).normal(size=(1, 3, side, side)).astype("<f4")
    entry = {"name": "images", "shape": list(pixels.shape), "datatype": "FP32"}
    head = json.dumps({"inputs": [{**entry, "parameters": {"binary_data_size": pixels.nbytes}}]}).encode()
    for number in itertools.count():
        pixels.flat[0] = number
        headers = {"Inference-Header-Content-Length": str(len(head))}
        yield "/v2/models/task0__tensor/infer", head + pixels.tobytes(), headers


class Client:
    """One connection that is answered with status 200, or ends the measurement."""

    def __init__(self, server: Server) -> None:
        self._connection = HTTPConnection(f"127.0.0.1:{server.port}", timeout=SECONDS)

    def ask(self, request: Request) -> float:
        """Return the seconds from a request to the end of its answer."""
        path, body, headers = request
        started = time.perf_counter()
        self._connection.request("POST", path, body, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        seconds = time.perf_counter() - started
        if answer.status != 200:
            raise SystemExit(f"{path}: status {answer.status}: {text[:200]!r}")
        return seconds

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def compare(plain: Client, keeping: Client, requests: Iterator[Request], rounds: int) -> dict[str, object]:
    """Return the percentiles of the three, which take turns."""
    known = next(requests)
    times: dict[str, list[float]] = {"nothing_kept_ms": [], "unknown_ms": [], "known_ms": []}
    for client in (plain, keeping):
        client.ask(known)
    for _ in range(rounds):
        fresh = next(requests)
        times["nothing_kept_ms"].append(plain.ask(fresh))
        times["unknown_ms"].append(keeping.ask(fresh))
        times["known_ms"].append(keeping.ask(known))
    return {"bytes": len(known[1]), **{name: dataclasses.asdict(Latency.of(found)) for name, found in times.items()}}


def measure(graph: bytes, side: int, rounds: int, megabytes: int) -> dict[str, object]:
    """Return what was measured of each kind of image; pixels are side x side."""
    kinds = {name: of_pictures(picture(size)) for name, size in PICTURES.items()}
    kinds[f"pixels of {side} x {side}"] = of_pixels(side)
    with tempfile.TemporaryDirectory() as place:
        folder = SwappedBundle(Path(place), graph, 1).folder
        with (
            served(folder) as plain,
            served(folder, "--cache", str(megabytes)) as keeping,
            closing(Client(plain)) as one,
            closing(Client(keeping)) as other,
        ):
            return {
                name: compare(one, other, requests, rounds // (SLOWER if "4000" in name else 1) or 1)
                for name, requests in kinds.items()
            }


def main(arguments: list[str]) -> None:
    """Measure, print and write the JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.serving.kept_answers", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--model", default="deit_tiny_patch16_224", help="timm name (default: %(default)s)")
    parser.add_argument("--side", type=int, default=224, help="pixels of its images (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=500, help="of each kind (default: %(default)s)")
    parser.add_argument("--cache", type=int, default=64, help="megabytes (default: %(default)s)")
    parser.add_argument("--json", type=Path, default=RESULTS, help="file for the numbers (default: %(default)s)")
    given = parser.parse_args(arguments)
    facts = {
        "machine": dataclasses.asdict(describe_machine()),
        "model": given.model,
        "engine": "onnxruntime, 1 thread",
        "cache_mb": given.cache,
        "images": measure(export(given.model), given.side, given.rounds, given.cache),
    }
    print(documents.write(given.json, facts), end="")


if __name__ == "__main__":
    main(sys.argv[1:])
