"""What a file of TensorRT's is made of and for, and whether it is whole; its own bytes are never read as a plan."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from adaptertune_deploy.engines.tensorrt import plans
from adaptertune_deploy.inspection.inspected import Cell, Inspected, Sheet, Size


def fits(path: Path) -> bool:
    """Return whether a path is a file that ends in .plan or .timing."""
    return path.suffix in (f".{plans.PLAN}", f".{plans.TIMING}") and path.is_file()


def inspect(path: Path) -> Inspected:
    """Read a plan's or timing cache's header.

    Raises:
        FormatError: damaged, or not of this package's making.
    """
    header, _ = plans.read_header(path)
    lines: list[tuple[str, Cell]] = [("size", Size(header.bytes)), ("sha256", header.sha256)]
    sheets = [Sheet("made on and for", ("machine", ""), (), tuple(dataclasses.asdict(header.machine).items()))]
    if header.facts is not None:
        lines += [("graph", f"sha256 {header.facts.graph}, as TensorRT read it"), ("precision", header.facts.precision)]
        sheets.append(Sheet("built with", ("setting", "value"), (), tuple(header.facts.settings.items())))
    what = "plan" if header.kind == plans.PLAN else "timing cache"
    return Inspected(what, {**dataclasses.asdict(header), "faults": []}, tuple(lines), tuple(sheets))
