"""When the memory of a large run is given back.

ONNX Runtime keeps the memory of its largest run, on the CPU and on a GPU, since the next one may need it. A run can be
told to free what is left over when it ends (memory.enable_memory_arena_shrinkage); the run after it has to ask the
system again, so not every run is told so: one is when many in a row needed half of the largest or less.
"""

from __future__ import annotations

import threading

from adaptertune_deploy.engines.onnxruntime.providers import CPU, CUDA

SHRINK = "memory.enable_memory_arena_shrinkage"  # of a run's configuration: which arenas
CALM = 64  # runs


def arenas(provider: str, gpu: int) -> str:
    """Return the arenas of a session as SHRINK takes them, "" where they are not to be touched."""
    return {CPU: "cpu:0", CUDA: f"cpu:0;gpu:{gpu}"}.get(provider, "")


class Peaks:
    """Watches how many rows runs have; any number of threads may tell."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._largest = self._since = self._calm = 0

    def passed(self, rows: int) -> bool:
        """Return whether the run of so many rows that begins now is to give memory back."""
        with self._lock:
            if 2 * rows > self._largest:
                self._largest = max(self._largest, rows)
                self._since = self._calm = 0
                return False
            self._since, self._calm = max(self._since, rows), self._calm + 1
            if self._calm < CALM:
                return False
            self._largest, self._since, self._calm = self._since, 0, 0
            return True
