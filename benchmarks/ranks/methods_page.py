"""The page docs/results/methods.md, made from the results of methods, accuracy and ranks.auto."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.training.runs import BUSY, counted, machines, not_run

GIVEN, LAST, AUTO, FULL = "8", "last", "auto", "full"
# way -> how it is asked for, and the candidate of it that stands beside the head alone
NAMES = {
    GIVEN: ("`--rank 8`", "adapter"),
    LAST: ("`--placement last:4 --views 3`", "adapter"),
    AUTO: ("`--rank auto`", "adapter"),
    FULL: ("`--method full`", "full"),
}
HEAD = """# Methods: adapters after every block or the last four, a searched rank, full fine-tuning

Written by `make bench-methods` from the results of `benchmarks.ranks.methods`, `benchmarks.training.accuracy` and
`benchmarks.ranks.auto`; do not edit.

Every row is one `atd train` on DeiT-Tiny with seed 0 and defaults but for the option that it names, with the datasets
of [accuracy](accuracy.md). "Trained" is what the method fitted beside the head alone, "ships" what the comparison out
of fold chose of the two. "Parameters" are those that are trained and stored for a task, of "trained" with its head;
intervals are 95 % Wilson intervals on the same test images, so rows of a dataset differ less than their intervals say
only where the images they get wrong are the same.
"""
# way, the one beside which it is put, what is said
COMPARED = (
    (
        GIVEN,
        FULL,
        "adapters of rank 8 lie {points:+.1f} points from full fine-tuning, with {share:.1f} % of its parameters.",
    ),
    (
        LAST,
        GIVEN,
        "adapters after the last four blocks alone, in fixed views, lie {points:+.1f} points from those after all.",
    ),
)
COLUMNS = ("dataset", "asked for", "rank", "head alone", "trained", "ships", "shipped", "parameters", "time")


def page(runs: Sequence[dict[str, Any]], datasets: Sequence[str]) -> str:
    """Return the page as Markdown.

    Args:
        runs: what `atd train --json` printed, with "dataset", "way", "threads" and "machine", in the order of the rows.
        datasets: all datasets that the benchmark is made of.
    """
    lines = [HEAD, f"| {' | '.join(COLUMNS)} |", f"|---|---|{'---:|' * (len(COLUMNS) - 2)}"]
    lines += [f"| {' | '.join(_cells(run))} |" for run in runs]
    return "\n".join([*lines, "", *_kept(runs), *machines(runs, BUSY), "", *not_run(_missing(runs, datasets))])


def _cells(run: dict[str, Any]) -> tuple[str, ...]:
    asked, candidate = NAMES[run["way"]]
    trained = run[candidate]
    return (
        run["dataset"],
        asked,
        "" if run["way"] == FULL else str(found["rank"] if (found := run.get("rank")) else GIVEN),
        counted(run["head"]),
        counted(trained) if trained else "",
        run["ships"],
        counted(run[run["ships"]]),
        f"{trained['parameters']:,}" if trained else "",
        f"{run['seconds'] / 60:.1f} min",
    )


def _kept(runs: Sequence[dict[str, Any]]) -> list[str]:
    """Return a sentence a dataset and pair of ways: the first beside the second, in points and in parameters."""
    lines = []
    for name in dict.fromkeys(run["dataset"] for run in runs):
        own = {run["way"]: run.get(NAMES[run["way"]][1]) for run in runs if run["dataset"] == name}
        for one, other, said in COMPARED:
            if (ours := own.get(one)) and (theirs := own.get(other)):
                points, share = 100 * (ours["top1"] - theirs["top1"]), ours["parameters"] / theirs["parameters"]
                lines.append(f"- {name}: {said.format(points=points, share=100 * share)}")
    return [*lines, ""] if lines else []


def _missing(runs: Sequence[dict[str, Any]], datasets: Sequence[str]) -> list[str]:
    done = {(run["dataset"], run["way"]) for run in runs}
    return [f"{name} with {NAMES[way][0]}" for name in datasets for way in NAMES if (name, way) not in done]
