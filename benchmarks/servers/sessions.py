"""The memory of a process that holds ONNX models in sessions of the onnxruntime package, and nothing else.

    python -m benchmarks.servers.sessions MODEL.onnx ...

What a server with a session for each task can't go below; prints 10^6 bytes, after a run of eight images in each.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.servers.processes import proportional_mb

ROWS = 8


def memory_mb(models: Sequence[Path]) -> float:
    """Return the memory of a fresh process."""
    command = [sys.executable, "-m", "benchmarks.servers.sessions", *map(str, models)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def main(models: Sequence[str]) -> None:
    """Open and run them all, then print the memory."""
    import onnxruntime

    sessions = [onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]) for model in models]
    for session in sessions:
        (images,) = session.get_inputs()
        session.run(None, {images.name: np.zeros((ROWS, *images.shape[1:]), dtype=np.float32)})
    print(proportional_mb(os.getpid()))


if __name__ == "__main__":
    main(sys.argv[1:])
