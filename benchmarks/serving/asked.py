"""What the servers are asked, and whether they answer it as the bundle does without a server."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from adaptertune_deploy.core.images.preprocess import preprocess
from adaptertune_deploy.core.storage.tensors import Array
from adaptertune_deploy.engines.options import ON_CPU
from adaptertune_deploy.serve.sessions.session import open_session
from benchmarks.clients.http1 import Connection, cycle, post
from benchmarks.servers.atd import ask

TOLERANCE = 1e-4  # of a logit: other programs run the graphs in other forms
OUTPUTS = {"outputs": [{"name": "logits", "parameters": {"binary_data": False}}]}


@dataclass(frozen=True, eq=False)
class Row:
    """One image asked for one task by the Open Inference Protocol, whose answer is known.

    logits: float32 [classes].
    """

    task: str
    image: bytes
    logits: Array

    @property
    def request(self) -> bytes:
        """The whole request."""
        size = 4 + len(self.image)
        entry = {"name": "image", "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": size}}
        head = json.dumps({"inputs": [entry], **OUTPUTS}).encode()
        lengths = b"Inference-Header-Content-Length: %d\r\n" % len(head)
        tensor = len(self.image).to_bytes(4, "little") + self.image
        return post(f"/v2/models/{self.task}/infer", head + tensor, lengths)

    def check(self, port: int) -> None:
        """Ask a server.

        Raises:
            RuntimeError: it answers something else.
        """
        status, body = ask(Connection(port), self.request)
        if status != 200:
            raise RuntimeError(f"{self.task}: {status}: {body[:500]!r}")
        (output,) = json.loads(body)["outputs"]
        off = float(np.abs(np.array(output["data"], dtype=np.float32) - self.logits).max())
        if off > TOLERANCE:
            raise RuntimeError(f"{self.task}: a logit is off by {off:.2g}")


def rows(bundle: Path, images: Sequence[bytes]) -> list[Row]:
    """Return every image for every task of a bundle, with what it answers.

    Raises:
        RuntimeError: two tasks answer an image so alike that exchanging them would not be noticed.
    """
    found = []
    with contextlib.closing(open_session(bundle, options=ON_CPU)) as session:
        for image in images:
            pixels = preprocess(image, session.preprocess)[None]
            keys = np.array(list(session.tasks), dtype=np.int64)
            logits = session.run(pixels, np.zeros(len(keys), dtype=np.int64), keys)
            for one, other in itertools.pairwise(logits):
                if one.shape == other.shape and np.abs(one - other).max() < 4 * TOLERANCE:
                    raise RuntimeError("two tasks answer alike")
            names = [task.name for task in session.tasks.values()]
            found += [Row(name, image, answer) for name, answer in zip(names, logits, strict=True)]
    return found


def in_turn(asked: Sequence[Row]) -> Iterator[bytes]:
    """Yield the rows' requests for ever, neighbours of other images and tasks."""
    return cycle([row.request for row in asked])


def for_people(tasks: Sequence[str], image: bytes) -> bytes:
    """Return the request of /v1/predict for one image and some tasks."""
    return post(f"/v1/predict?tasks={','.join(tasks)}", image)
