"""Build a plan in a process of its own: the builder takes gigabytes, and what it does not give back ends with it.

The process loads numpy and TensorRT, no torch and no onnx. Request and result lie in a folder that only this user may
read.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from adaptertune_deploy.core.errors import EngineError
from adaptertune_deploy.core.storage import records
from adaptertune_deploy.engines.tensorrt import library
from adaptertune_deploy.engines.tensorrt.build import build
from adaptertune_deploy.engines.tensorrt.request import BuildRequest

REFUSED = 3  # exit code: the reason is in ERROR
REQUEST, GRAPH, TIMING, PLAN, ERROR = "request.json", "graph.onnx", "timing", "plan", "error"
ROOT = Path(__file__).parents[3]


def build_in_child(engine: str, graph: bytes, request: BuildRequest, timing: bytes, where: str) -> tuple[bytes, bytes]:
    """Return a plan and the timing cache after its build; see build.build.

    Args:
        engine: key of library.LIBRARIES.
        graph: the bytes of an ONNX file.
        request: for what and how.
        timing: a timing cache of this machine, or b"".
        where: the graph's file, for messages.

    Raises:
        EngineError: TensorRT refuses the graph, or its process died.
    """
    with tempfile.TemporaryDirectory(prefix="atd-plan-") as name:
        folder = Path(name)
        (folder / REQUEST).write_text(records.dump(request))
        (folder / GRAPH).write_bytes(graph)
        (folder / TIMING).write_bytes(timing)
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        done = subprocess.run(
            [sys.executable, "-m", __name__, name, engine, where],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
        if done.returncode == REFUSED:
            raise EngineError((folder / ERROR).read_text())
        if done.returncode:
            raise EngineError(f"{where}: {_death(done.returncode, done.stderr)}")
        return (folder / PLAN).read_bytes(), (folder / TIMING).read_bytes()


def _death(code: int, stderr: bytes) -> str:
    if code < 0:
        return (
            f"TensorRT's build was ended by signal {-code}; where memory is short, give it less: -E workspace_mb=256 "
            "-E tactic_memory_mb=512 -E level=1, or add swap"
        )
    lines = stderr.decode(errors="replace").strip().splitlines() or ["it does not say why"]
    return f"TensorRT's build failed: {lines[-1][:300]}"


def main(arguments: Sequence[str]) -> int:
    """Build what a folder asks for, and return an exit code."""
    name, engine, where = arguments
    folder = Path(name)
    request: BuildRequest = records.parse(json.loads((folder / REQUEST).read_text()), BuildRequest, REQUEST)
    try:
        plan, timing = build(
            library.load(engine), (folder / GRAPH).read_bytes(), request, (folder / TIMING).read_bytes(), where
        )
    except EngineError as error:
        (folder / ERROR).write_text(str(error))
        return REFUSED
    (folder / PLAN).write_bytes(plan)
    (folder / TIMING).write_bytes(timing)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
