"""`atd serve` with an engine that takes as long as the real one and computes nothing.

    python -m benchmarks.servers.idle_engine BUNDLE '[[1, 0.012], [8, 0.070]]' 2

The second word has rows and seconds of runs, the third one the rows of a batch at most.

What such a server costs is all that answering takes beside the engine: HTTP, decoding, queue, heads, JSON. Since the
engine takes its time, requests meet and batches form as with the real one.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from adaptertune_deploy.core.adapter import bank
from adaptertune_deploy.core.bundle.folder import read_manifest
from adaptertune_deploy.core.bundle.manifest import GraphRecord
from adaptertune_deploy.engines.engine import AnyArray, Engine, Slab
from adaptertune_deploy.engines.options import ON_CPU
from adaptertune_deploy.serve.http.app import make_app
from adaptertune_deploy.serve.http.server import serve
from adaptertune_deploy.serve.sessions.opener import Opener
from adaptertune_deploy.serve.sessions.session import open_from
from adaptertune_deploy.serve.settings import Settings


class IdleEngine:
    """An opened engine in all but its runs.

    Args:
        engine: what is asked for everything else.
        runs: rows and seconds of runs, ascending; between them a run takes what lies between.
    """

    def __init__(self, engine: Engine, runs: Sequence[tuple[float, float]]) -> None:
        self._engine = engine
        self._rows, self._seconds = zip(*runs, strict=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def run(
        self, feeds: Mapping[str, AnyArray], resident: Slab | None = None, slot: int | None = None
    ) -> dict[str, AnyArray]:
        """Wait, and return zeros: features [B, F]."""
        rows = len(feeds[bank.IMAGE])
        time.sleep(float(np.interp(rows, self._rows, self._seconds)))
        width = self._engine.outputs[bank.FEATURES].shape[1]
        return {bank.FEATURES: np.zeros((rows, int(width)), dtype=np.float32)}


@dataclass(frozen=True)
class IdleOpener(Opener):
    """Opens graphs on such an engine."""

    runs: tuple[tuple[float, float], ...] = ()

    def open(self, graph: GraphRecord) -> Engine:
        """See Opener.open."""
        return cast(Engine, IdleEngine(super().open(graph), self.runs))


def main(bundle: str, runs: str, max_batch: str) -> None:
    """Serve until SIGTERM; the first line that is printed ends in the port."""
    folder, times = Path(bundle), tuple((float(rows), float(seconds)) for rows, seconds in json.loads(runs))
    session = open_from(IdleOpener(folder, read_manifest(folder), ON_CPU, runs=times))
    try:
        app = make_app(session, Settings(max_batch=int(max_batch)))
        serve(app, port=0, on_started=lambda host, port: print(f"serving on {host}:{port}", flush=True))
    finally:
        session.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
