"""The table of what can be inspected, and which line of it a path belongs to."""

from __future__ import annotations

from pathlib import Path

from adaptertune_deploy.core.errors import FormatError, UsageError
from adaptertune_deploy.inspection import adapter, bundle, graph, plan
from adaptertune_deploy.inspection.inspected import Inspected, Kind

KINDS: tuple[Kind, ...] = (
    Kind("adapter", "an adapter folder", adapter.fits, adapter.inspect),
    Kind("bundle", "a bundle", bundle.fits, bundle.inspect),
    Kind("graph", "an ONNX graph (.onnx)", graph.fits, graph.inspect),
    Kind("plan", "a plan of TensorRT's (.plan, .timing)", plan.fits, plan.inspect),
)


def inspect(path: Path) -> Inspected:
    """Read what lies at a path, without running anything of it.

    Raises:
        UsageError: it is of no kind that can be inspected.
        FormatError: nothing there, or nothing of it can be read.
    """
    if not path.exists():
        raise FormatError(f"{path}: no such file or folder")
    for kind in KINDS:
        if kind.fits(path):
            return kind.inspect(path)
    known = ", ".join(kind.means for kind in KINDS)
    raise UsageError(f"{path}: is none of what can be inspected: {known}")
