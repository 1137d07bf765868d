"""The page docs/results/training-speed.md, made from the results of benchmarks.training.speed."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks import documents
from benchmarks.documents import Facts
from benchmarks.training.runs import counted
from benchmarks.wording import at_least, at_most, machine, row, short, spread

RESULTS, PAGE = documents.results("train_speed"), documents.page("training-speed")

HEAD = """# Training: how fast

Written by `make bench-train` from `benchmarks/results/train_speed.json`; do not edit. A section a machine.
"""
STEPS = """### Steps

{backbone}, adapters of rank {rank}, batches of {batch} images of Flowers-102, {threads} threads, {rounds} rounds in
which all loops run in turn, {clock} time; medians with quartiles. The reference is a plain loop of torch and timm in
float32 (`benchmarks/training/plain_loop.py`): it decodes and augments every image anew. The product steps in
{precision} and reads images that it decoded once. Ratios are round by round: to the reference with adapters after every
block, and to the reference with the same placement.

| adapters | loop | a step, ms | an image, ms | times as fast, all blocks | times as fast, same blocks | wanted |
|---|---|---:|---:|---:|---:|---:|
"""
PARTS = """
#### Where the time of a step goes

Milliseconds a step, medians; each part but the first is the difference of two measurements that contain it. The product
loads a batch while it takes a step on the one before, so that its steps take less than the sum.

| adapters | loop | decode, augment | forward, frozen | forward, adapters | backward | optimiser |
|---|---|---:|---:|---:|---:|---:|
"""
COMMANDS = """### Whole commands

`atd train` from the first file that is read to the last that is written, with an empty cache: decoding, probe, folds of
the comparison, the training on all images, the test.

| dataset | options | images | seconds | wanted | test accuracy, adapter | head alone |
|---|---|---:|---:|---:|---:|---:|
"""
WAITING = """### Two trainings at once

A step of the product's, adapters after all blocks, while that training is alone and while another one with as many
threads is beside it, in {rounds} rounds in turn of {steps} steps each (`python -m benchmarks.training.waiting`);
medians with quartiles, ratios round by round. Threads that find no work look for it so often before they sleep: as
many times as libgomp's own do, and as `atd` has it (`core/openmp.py`).

| looks | a step alone, ms | each step of two, ms | times as fast alone | times as fast, two |
|---:|---:|---:|---:|---:|
"""
NOT_RUN = "**Not run yet**: `make bench-train`, on a quiet machine.\n"
WANTED_STEPS = {"all": 3.0, "last:4, fixed views": 10.0}
WANTED_SECONDS = {"flowers": 180, "cifar10": 240}


def page(results: Facts) -> str:
    """Return the page as Markdown; what was not measured is said.

    Args:
        results: processor -> what was measured on it, the parts "steps", "commands" and "waiting".
    """
    lines = [HEAD]
    for processor, parts in results.items():
        steps, commands, waiting = (parts.get(name) for name in ("steps", "commands", "waiting"))
        first = {"steps": steps, "commands": commands[0] if commands else None, "two at once": waiting}
        measured = [(name, facts) for name, facts in first.items() if facts]
        machines = "".join(f"- {name}: {machine(facts['machine'])}\n" for name, facts in measured)
        lines.append(f"## {short(processor)}\n\n{machines}")
        lines.append("".join(_steps(steps)) if steps else f"### Steps\n\n{NOT_RUN}")
        lines.append("".join(_commands(commands)) if commands else f"### Whole commands\n\n{NOT_RUN}")
        if waiting:
            lines.append("".join(_waiting(waiting)))
    return "\n".join(lines)


def _steps(steps: Facts) -> Iterator[str]:
    settings = steps["settings"]
    yield STEPS.format(**settings)
    for found in steps["rows"]:
        step = found["milliseconds"]["step"]
        cells = (
            found["placement"],
            found["loop"],
            spread(step, 0),
            f"{step['median'] / settings['batch']:.1f}",
            spread(found["faster"], 2),
            spread(found["faster_than_same"], 2),
            _wanted(found),
        )
        yield f"{row(*cells)}\n"
    yield PARTS
    for found in steps["rows"]:
        medians = {part: times["median"] for part, times in found["milliseconds"].items()}
        parts = (
            medians["load"],
            medians["frozen"],
            medians["forward"] - medians["frozen"],
            medians["gradient"] - medians["forward"],
            medians["update"] - medians["gradient"],
        )
        yield f"{row(found['placement'], found['loop'], *(f'{round(part)}' for part in parts))}\n"


def _wanted(row: Facts) -> str:
    wanted = WANTED_STEPS.get(row["placement"]) if row["loop"] == "product" else None
    if wanted is None:
        return ""
    return at_least(row["faster"]["median"], wanted)


def _commands(commands: list[Facts]) -> Iterator[str]:
    yield COMMANDS
    for found in commands:
        wanted = WANTED_SECONDS[found["dataset"]]
        judged = at_most(found["seconds"], wanted)
        tops = (counted(found["facts"][name]) for name in ("adapter", "head"))
        cells = (
            found["dataset"],
            f"`{found['options']}`",
            f"{found['images']:,}",
            f"{found['seconds']:.0f}",
            judged,
            *tops,
        )
        yield f"{row(*cells)}\n"


def _waiting(waiting: Facts) -> Iterator[str]:
    yield WAITING.format(**waiting["settings"])
    for found in waiting["rows"]:
        looks = f"{found['looks']:,}"
        times = (spread(taken, 0) for taken in found["milliseconds"].values())
        faster = (spread(ratio, 2) for ratio in found["faster"].values())
        yield f"{row(looks, *times, *faster)}\n"
