"""The page docs/results/auto-rank.md, made from the results of benchmarks.ranks.auto."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.training.runs import counted, machines, not_run
from benchmarks.wording import heading, row

GIVEN = "8"
HEAD = """# What `--rank auto` finds, and what it costs

Written by `make bench-auto-rank` from `benchmarks/results/auto_rank.json`; do not edit.

Every row is one `atd train` with its defaults on DeiT-Tiny. "Tried" are
the ranks that went through the folds of the comparison; "alike" are those within one standard error of the best one
out of fold, of which the smallest is taken, of those that beat the head alone by the gate's rule where any does; rank 0
is the head alone. "Time" is processor time of the whole run; "times" compares it with the run of the same dataset
whose rank was given, where both ran on one kind of processor; other work beside a run makes it longer.
Accuracy and log-loss are on the test images, which choose nothing; accuracy with its 95 % Wilson interval.

The weights are a float16 copy of DeiT-Tiny with rounded layer norms, and the datasets are small subsets of the public
ones.
"""
COLUMNS = ("dataset", "`--rank`", "images", "tried", "rank", "alike", "ships", "test accuracy", "loss", "time", "times")


def page(runs: Sequence[dict[str, Any]], wanted: Sequence[tuple[str, str]]) -> str:
    """Return the page as Markdown.

    Args:
        runs: what `atd train --json` printed, with "dataset", "asked" (the rank), "threads", "processor_s" and
            "machine".
        wanted: dataset and rank of every run that the benchmark is made of.
    """
    lines = [HEAD, heading(*COLUMNS, text=2)]
    lines += [row(*_cells(run, _given(runs, run["dataset"]))) for run in runs]
    return "\n".join([*lines, "", *_costs(runs), *machines(runs), "", *not_run(_missing(runs, wanted))])


def multiple(run: dict[str, Any], given: dict[str, Any] | None) -> float | None:
    """Return a run's processor time in multiples of the one with a given rank; None where that did not run there."""
    if given is None or run["machine"]["processor"] != given["machine"]["processor"]:
        return None
    return float(run["processor_s"]) / float(given["processor_s"])


def _given(runs: Sequence[dict[str, Any]], dataset: str) -> dict[str, Any] | None:
    return next((run for run in runs if (run["dataset"], run["asked"]) == (dataset, GIVEN)), None)


def _cells(run: dict[str, Any], given: dict[str, Any] | None) -> tuple[str, ...]:
    choice, times = run["rank"], multiple(run, given)
    tried, picked, alike = "", run["asked"], ""
    if choice is not None:
        tried = ", ".join(str(one["rank"]) for one in choice["tried"])
        picked, alike = str(choice["rank"]), ", ".join(map(str, choice["alike"]))
    return (
        run["dataset"],
        run["asked"],
        f"{run['train_images']:,}",
        tried,
        picked,
        alike,
        run["ships"],
        counted(run[run["ships"]]),
        f"{run[run['ships']]['loss']:.3f}",
        f"{run['processor_s'] / 60:.1f} min",
        "" if times is None else f"{times:.2f}",
    )


def _costs(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Return a sentence a search: its cost over the datasets."""
    lines = []
    for search in dict.fromkeys(run["asked"] for run in runs if run["asked"] != GIVEN):
        own = [run for run in runs if run["asked"] == search]
        known = [times for run in own if (times := multiple(run, _given(runs, run["dataset"]))) is not None]
        if known:
            ends = " to ".join(dict.fromkeys(f"{times:.2f}" for times in (min(known), max(known))))
            lines.append(f"- `--rank {search}` takes {ends} times a run with a given rank.")
    return [*lines, ""] if lines else []


def _missing(runs: Sequence[dict[str, Any]], wanted: Sequence[tuple[str, str]]) -> list[str]:
    done = {(run["dataset"], run["asked"]) for run in runs}
    return [f"{name} with {rank}" for name, rank in wanted if (name, rank) not in done]
