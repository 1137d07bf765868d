"""What can be chosen of TensorRT alone; most of it is part of a plan, so that another value builds another plan."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TensorrtSettings:
    """TensorRT's own settings.

    max_rows: Rows of one run at most, and images too; runs of more are split.
    tuned_rows: Rows of a run that kernels are chosen for.
    slots: Tasks of one rank at most, and one more; at least max_rows.
    max_rank: Largest rank of a task.
    workspace_mb: Memory that one kernel may take; 0 leaves it to TensorRT, and on a small Jetson takes an eighth.
    tactic_memory_mb: Memory for trying kernels; 0 leaves it to TensorRT, and on a small Jetson takes a quarter.
    level: How many kernels a build tries, 0 to 5; -1 takes 3, and on a small Jetson 2.
    contexts: Runs at a time; each has memory of its own.
    cuda_graphs: Whether a run that came before is given to the GPU in one piece.
    """

    max_rows: int = 32
    tuned_rows: int = 8
    slots: int = 128
    max_rank: int = 64
    workspace_mb: int = 0
    tactic_memory_mb: int = 0
    level: int = -1
    contexts: int = 1
    cuda_graphs: bool = True

    def __post_init__(self) -> None:
        ranges = {
            "max_rows": (1, 1024),
            "tuned_rows": (1, 1024),
            "slots": (self.max_rows, 1 << 16),
            "max_rank": (1, 1 << 12),
            "workspace_mb": (0, 1 << 20),
            "tactic_memory_mb": (0, 1 << 20),
            "level": (-1, 5),
            "contexts": (1, 16),
        }
        for name, (least, most) in ranges.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise ValueError(f"{name}={value}: expected {least} to {most}")
