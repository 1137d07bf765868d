"""The page docs/results/accuracy.md, made from the results of benchmarks.training.accuracy."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.training.runs import BUSY, counted, machines
from benchmarks.wording import heading, row

HEAD = """# Accuracy of the default training

Written by `make bench-accuracy` from `benchmarks/results/accuracy.json`; do not edit.

Every row is one `atd train` with its defaults on DeiT-Tiny: adapters of rank 8 after every block, all training images,
one look at the test images. "Head alone" is the careful linear probe: its penalty chosen by five-fold log-loss, fitted
on the same images as the adapters. "Compared" counts the test images that only one of the two gets right, with an exact
McNemar test. "Out of fold" is the mean gain in log-loss over the head alone in standard errors; from 2 on the adapter
ships. Intervals are 95 % Wilson intervals.

The weights are a float16 copy of DeiT-Tiny with rounded layer norms, and the datasets are small subsets of the public
ones with splits of their own, so these numbers compare with each other and with nothing else. cifar10-unequal has
classes of 160 to 4 training images, cifar10-5-a-class has 5 of each; both are tested on the 1,000 test images of
cifar10. DeiT-Tiny was pretrained on ImageNet, from which tiny-imagenet-50 is taken.
"""
COLUMNS = (
    "dataset", "seed", "train", "test", "head alone", "adapter + head", "compared", "out of fold", "ships", "time",
)  # fmt: skip
VERDICT = 0.05


def page(runs: list[dict[str, Any]], wanted: list[tuple[str, int]]) -> str:
    """Return the page as Markdown.

    Args:
        runs: what `atd train --json` printed, with "dataset", "seed" and "machine", and with "caveat" where a training
            would go otherwise now.
        wanted: dataset and seed of every run that the benchmark is made of.
    """
    lines = [HEAD, heading(*COLUMNS), *(row(*_cells(run)) for run in runs), *_caveats(runs)]
    lines += ["", "## What the gate did", "", *_verdicts(runs), "", *machines(runs, BUSY), ""]
    return "\n".join([*lines, *_missing(runs, wanted)])


def count_runs(runs: list[dict[str, Any]], wanted: list[tuple[str, int]]) -> str:
    """Return how many of the wanted runs there are, in words: "7 of 21 trainings"."""
    return f"{len(wanted) - len(_absent(runs, wanted))} of {len(wanted)} trainings"


def _absent(runs: list[dict[str, Any]], wanted: list[tuple[str, int]]) -> list[tuple[str, int]]:
    done = {(run["dataset"], run["seed"]) for run in runs}
    return [run for run in wanted if run not in done]


def _missing(runs: list[dict[str, Any]], wanted: list[tuple[str, int]]) -> list[str]:
    """Return which runs are not there, as a paragraph."""
    seeds: dict[str, list[str]] = {}
    for name, seed in _absent(runs, wanted):
        seeds.setdefault(name, []).append(str(seed))
    if not seeds:
        return []
    named = "; ".join(f"{name}, seed {' and '.join(numbers)}" for name, numbers in seeds.items())
    return [f"**Not run yet**: {named}. {count_runs(runs, wanted)} are above.", ""]


def _cells(run: dict[str, Any]) -> tuple[str, ...]:
    paired, gate = run["paired"], run["out_of_fold"]
    return (
        run["dataset"],
        str(run["seed"]),
        f"{run['train_images']:,}",
        f"{run['test_images']:,}",
        counted(run["head"]),
        counted(run["adapter"]),
        f"{paired['better']} better, {paired['worse']} worse, p = {paired['p']:.2g}",
        f"{gate['standard_errors']:.1f}",
        run["ships"],
        f"{run['seconds'] / 60:.1f} min",
    )


def _caveats(runs: list[dict[str, Any]]) -> list[str]:
    """Return a paragraph for each caveat, with the runs that it is of."""
    of: dict[str, list[str]] = {}
    for run in runs:
        if "caveat" in run:
            of.setdefault(run["caveat"], []).append(f"{run['dataset']} {run['seed']}")
    return [line for caveat, named in of.items() for line in ("", f"**{', '.join(named)}**: {caveat}.")]


def _verdicts(runs: list[dict[str, Any]]) -> list[str]:
    """Return a sentence a dataset: what shipped, and whether the test images bear it out."""
    lines = []
    for name in dict.fromkeys(run["dataset"] for run in runs):
        own = [run for run in runs if run["dataset"] == name]
        shipped = sum(run["ships"] == "adapter" for run in own)
        gains = [100 * (run[run["ships"]]["top1"] - run["head"]["top1"]) for run in own]
        better = sum(run["ships"] == "adapter" and _shown(run) and run["paired"]["gain"] > 0 for run in own)
        worse = sum(run["ships"] == "adapter" and _shown(run) and run["paired"]["gain"] < 0 for run in own)
        lines.append(
            f"- {name}: the adapter shipped in {shipped} of {len(own)} runs; what shipped lies "
            f"{statistics.mean(gains):+.1f} points from the head alone on average ({min(gains):+.1f} to "
            f"{max(gains):+.1f}), significantly above it in {better} and below it in {worse}."
        )
    return lines


def _shown(run: dict[str, Any]) -> bool:
    return bool(run["paired"]["p"] < VERDICT)
