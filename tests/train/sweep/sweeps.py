"""A sweep as it could have been measured."""

from __future__ import annotations

from typing import Any

from adaptertune_deploy.train.sweep.swept import FORMAT_VERSION, Sweep, SweptRank


def make_sweep(**changes: Any) -> Sweep:
    """Return a sweep over ranks 0, 2 and 8 with two seeds, of which 2 is enough."""
    facts: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "task": "trees",
        "dataset": "trees",
        "backbone": "vit_tiny",
        "placement": "all",
        "train_images": 300,
        "test_images": 100,
        "seeds": (0, 1),
        "folds": 2,
        "compared": 300,
        "ranks": (
            SweptRank(0, 100, 0.6, 0.8, 0.1, 0.02, (0.81,), (0.62,)),
            SweptRank(2, 1_100, 0.504, 0.84, 0.004, 0.006, (0.84, 0.86), (0.52, 0.5)),
            SweptRank(8, 4_100, 0.5, 0.85, 0.0, 0.0, (0.85, 0.88), (0.51, 0.49)),
        ),
        "enough": 2,
        "alike": (2, 8),
        "seconds": 75.0,
    }
    return Sweep(**{**facts, **changes})
