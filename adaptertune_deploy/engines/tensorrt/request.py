"""How a plan is built: for which GPU, how many rows and tasks, and with how much memory."""

from __future__ import annotations

import json
from dataclasses import dataclass

from adaptertune_deploy.core.storage import records
from adaptertune_deploy.engines.cuda.driver import Gpu
from adaptertune_deploy.engines.tensorrt.settings import TensorrtSettings
from adaptertune_deploy.engines.tensorrt.shapes import Capacity

MEGABYTE = 1 << 20
SMALL = 12_000 * MEGABYTE  # memory that a CPU and a GPU share below which a build must be held back


@dataclass(frozen=True)
class BuildRequest:
    """How a plan is built.

    sm: the compute capability that it is for, "8.7".
    workspace, tactic_memory: bytes that a kernel may take for itself, and that trying kernels may take; 0 leaves both
        to TensorRT: all of the GPU's memory, and on integrated GPUs three quarters of it.
    level: of optimisation, 0 to 5; each tries more kernels and takes longer.
    """

    capacity: Capacity
    sm: str
    workspace: int = 0
    tactic_memory: int = 0
    level: int = 3

    def settings(self) -> dict[str, str]:
        """Return what makes two plans of one graph differ, as text."""
        found = json.loads(records.dump(self))
        return {
            name: value if isinstance(value, str) else json.dumps(value, sort_keys=True)
            for name, value in found.items()
        }


def request_for(gpu: Gpu, settings: TensorrtSettings, blocks: int) -> BuildRequest:
    """Return how a plan for a GPU is built.

    Args:
        gpu: runs it.
        settings: what was chosen.
        blocks: adapted blocks of a shared graph; 0 for a merged one.
    """
    small = gpu.integrated and gpu.memory < SMALL
    shared = bool(blocks)
    capacity = Capacity(
        rows=settings.max_rows,
        usual_rows=min(settings.tuned_rows, settings.max_rows),
        slots=settings.slots if shared else 0,
        rank=settings.max_rank if shared else 0,
        blocks=blocks,
    )
    return BuildRequest(
        capacity,
        gpu.sm,
        workspace=settings.workspace_mb * MEGABYTE or (gpu.memory // 8 if small else 0),
        tactic_memory=settings.tactic_memory_mb * MEGABYTE or (gpu.memory // 4 if small else 0),
        level=settings.level if settings.level >= 0 else (2 if small else 3),
    )
