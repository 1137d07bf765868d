"""The page docs/results/training-speed.md, made from the results of benchmarks.training.speed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.training.accuracy_page import counted

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "train_speed.json"
PAGE = ROOT / "docs" / "results" / "training-speed.md"
Facts = Mapping[str, Any]

HEAD = """# Training: how fast

Written by `make bench-train` from `benchmarks/results/train_speed.json`; do not edit.
"""
STEPS = """## Steps

{backbone}, adapters of rank {rank}, batches of {batch} images of Flowers-102, {threads} threads, {rounds} rounds in
which all loops run in turn, {clock} time; medians with quartiles. The reference is a plain loop of torch and timm in
float32 (`benchmarks/training/plain_loop.py`): it decodes and augments every image anew. The product steps in
{precision} and reads images that it decoded once. Ratios are round by round: to the reference with adapters after every
block, and to the reference with the same placement.

| adapters | loop | a step, ms | an image, ms | times as fast, all blocks | times as fast, same blocks | wanted |
|---|---|---:|---:|---:|---:|---:|
"""
PARTS = """
### Where the time of a step goes

Milliseconds a step, medians; each part but the first is the difference of two measurements that contain it. The product
loads a batch while it takes a step on the one before, so that its steps take less than the sum.

| adapters | loop | decode, augment | forward, frozen | forward, adapters | backward | optimiser |
|---|---|---:|---:|---:|---:|---:|
"""
COMMANDS = """## Whole commands

`atd train` from the first file that is read to the last that is written, with an empty cache: decoding, probe, folds of
the comparison, the training on all images, the test.

| dataset | options | images | seconds | wanted | test accuracy, adapter | head alone |
|---|---|---:|---:|---:|---:|---:|
"""
NOT_RUN = "**Not run yet**: `make bench-train`, on a quiet machine.\n"
WANTED_STEPS = {"all": 3.0, "last:4, fixed views": 10.0}
WANTED_SECONDS = {"flowers": 180, "cifar10": 240}


def page(results: Facts) -> str:
    """Return the page as Markdown; what was not measured is said."""
    lines = [HEAD]
    steps, commands = results.get("steps"), results.get("commands")
    lines += ["".join(_steps(steps))] if steps else [f"## Steps\n\n{NOT_RUN}"]
    lines += ["".join(_commands(commands))] if commands else [f"## Whole commands\n\n{NOT_RUN}"]
    measured = ([("steps", steps)] if steps else []) + ([("commands", commands[0])] if commands else [])
    if measured:
        lines.append(
            "## Machines\n\n" + "".join(f"- {name}: {_machine(facts['machine'])}\n" for name, facts in measured)
        )
    return "\n".join(lines)


def _steps(steps: Facts) -> Iterator[str]:
    settings = steps["settings"]
    yield STEPS.format(**settings)
    for row in steps["rows"]:
        step = row["milliseconds"]["step"]
        cells = (
            row["placement"],
            row["loop"],
            _spread(step, 0),
            f"{step['median'] / settings['batch']:.1f}",
            _spread(row["faster"], 2),
            _spread(row["faster_than_same"], 2),
            _wanted(row),
        )
        yield f"| {' | '.join(cells)} |\n"
    yield PARTS
    for row in steps["rows"]:
        medians = {part: spread["median"] for part, spread in row["milliseconds"].items()}
        parts = (
            medians["load"],
            medians["frozen"],
            medians["forward"] - medians["frozen"],
            medians["gradient"] - medians["forward"],
            medians["update"] - medians["gradient"],
        )
        yield f"| {row['placement']} | {row['loop']} | {' | '.join(f'{round(part)}' for part in parts)} |\n"


def _wanted(row: Facts) -> str:
    wanted = WANTED_STEPS.get(row["placement"]) if row["loop"] == "product" else None
    if wanted is None:
        return ""
    return f"{wanted:g}" + ("" if row["faster"]["median"] >= wanted else ", **missed**")


def _commands(commands: list[Facts]) -> Iterator[str]:
    yield COMMANDS
    for row in commands:
        wanted = WANTED_SECONDS[row["dataset"]]
        judged = f"{wanted}" + ("" if row["seconds"] <= wanted else ", **missed**")
        tops = (counted(row["facts"][name]) for name in ("adapter", "head"))
        cells = (row["dataset"], f"`{row['options']}`", f"{row['images']:,}", f"{row['seconds']:.0f}", judged, *tops)
        yield f"| {' | '.join(cells)} |\n"


def _spread(spread: Facts, digits: int) -> str:
    median, low, high = (f"{spread[name]:.{digits}f}" for name in ("median", "low", "high"))
    return f"{median} [{low}, {high}]"


def _machine(machine: Facts) -> str:
    said = ", ".join(f"{library} {version}" for library, version in dict(machine["versions"]).items())
    return f"{machine['cores']} cores of {machine['processor']}, {machine['memory_gb']} GB; {said}"
