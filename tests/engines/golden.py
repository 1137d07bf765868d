"""The small bundle that tests/device/ holds."""

from __future__ import annotations

from pathlib import Path

from adaptertune_deploy.core.bundle import folder as bundle
from adaptertune_deploy.core.bundle.manifest import MERGED, SHARED, select_graph
from adaptertune_deploy.core.precision import Precision

GOLDEN = Path(__file__).parents[1] / "device" / "golden"
BUNDLE = GOLDEN / "bundle"


def golden_graph(task: str | None) -> bytes:
    """Return the shared graph of the golden bundle, or a task's merged one."""
    manifest = bundle.read_manifest(BUNDLE)
    form = SHARED if task is None else MERGED
    return bundle.read_graph(BUNDLE, select_graph(manifest, form, Precision.FP32, task))
