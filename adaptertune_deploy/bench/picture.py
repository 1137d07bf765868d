"""What atd bench measured as one picture; needs matplotlib, which report/ imports when it draws."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from adaptertune_deploy.bench.results import Bench, Ran, Way
from adaptertune_deploy.core.bundle.manifest import SHARED
from adaptertune_deploy.report.models import Line, draw_models

PICTURE_NAME = "bench.png"


def can_draw() -> bool:
    """Return whether matplotlib is here; it is not imported."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_bench(bench: Bench) -> bytes:
    """Return the picture of the largest batch as PNG."""
    batch = max(entry.batch for entry in bench.ran)
    title = f"N models against one backbone: {bench.backbone}, {bench.machine.words}"
    return draw_models(list(lines_of(bench, batch)), title, batch)


def lines_of(bench: Bench, batch: int) -> Iterator[Line]:
    """Yield a line for each way that was timed at a batch."""
    styles: dict[tuple[str, str], int] = {}
    by_way: dict[Way, list[Ran]] = {}
    for entry in bench.ran:
        if entry.batch == batch:
            by_way.setdefault(entry.way, []).append(entry)
    for way, ran in by_way.items():
        ran.sort(key=lambda entry: entry.tasks)
        one = way.form == SHARED
        yield Line(
            f"{'one backbone' if one else 'N models'}, {way.precision} on {way.engine}",
            one,
            styles.setdefault((way.engine, str(way.precision)), len(styles)),
            tuple(entry.tasks for entry in ran),
            tuple((entry.milliseconds.low, entry.milliseconds.median, entry.milliseconds.high) for entry in ran),
            tuple(entry.memory_mb for entry in ran),
        )
