"""The picture of docs/results/serving.md: images a second, latency at half load, and both servers side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from adaptertune_deploy.report.canvas import OTHER, QUIET, SHIPS, picture
from benchmarks.serving.capacity import SPACED

Facts = Mapping[str, Any]
SIZE, SMALLER = (10.5, 3.4), (6.5, 3.4)
SHORT = {"deit_tiny_patch16_224": "DeiT-Tiny", "vit_small_patch16_224": "ViT-S"}


def draw(serve: Facts) -> bytes:
    """Return the picture of the results of benchmarks.serving.measure as PNG."""
    triton = serve["triton"]

    def fill(figure: Any) -> None:
        widths = [2, 1.6] if triton is None else [2, 1.6, 1.2, 1.2]
        axes = figure.subplots(1, len(widths), width_ratios=widths)
        _rates(axes[0], serve["capacity"])
        _latencies(axes[1], serve["capacity"])
        if triton is not None:
            ours, theirs = triton["servers"]["atd"], triton["servers"]["triton"]
            _pair(axes[2], "images a second, 10 tasks", [one["images_per_s"] for one in (ours, theirs)])
            _pair(axes[3], "memory, MB", [{"median": one["memory_mb"]} for one in (ours, theirs)])

    return picture(SMALLER if triton is None else SIZE, fill)


def _rates(axes: Any, capacity: Facts) -> None:
    """Draw engine, budget and server of each model, as shares of the engine alone."""
    kinds = (("engine alone", QUIET), ("budget", OTHER), ("server", SHIPS))
    for place, (name, colour) in enumerate(kinds):
        shares, errors = [], []
        for found in capacity.values():
            engine = found["engine_per_s"][str(found["batch"])]
            spread = {"engine alone": engine, "budget": found["budget_per_s"], "server": found["server_per_s"]}[name]
            shares.append(spread["median"] / engine["median"])
            errors.append([abs(spread[end] - spread["median"]) / engine["median"] for end in ("low", "high")])
        at = [model + 0.27 * (place - 1) for model in range(len(shares))]
        _bars(axes, at, shares, errors, colour, name)
    axes.set_xticks(range(len(capacity)), [SHORT.get(model, model) for model in capacity])
    _finish(axes, "images a second, of the engine alone")


def _latencies(axes: Any, capacity: Facts) -> None:
    """Draw median and p99 at half load of each model, evenly asked, as multiples of a single image."""
    for place, (name, colour) in enumerate((("p50_ms", QUIET), ("p99_ms", SHIPS))):
        spaced = [found["half_load"][SPACED] for found in capacity.values()]
        values = [half[name] / half["single_ms"]["median"] for half in spaced]
        at = [model + 0.36 * (place - 0.5) for model in range(len(values))]
        _bars(axes, at, values, None, colour, name.removesuffix("_ms"))
    axes.axhline(1, color="0.3", lw=0.8, ls=":")
    axes.set_xticks(range(len(capacity)), [SHORT.get(model, model) for model in capacity])
    _finish(axes, "latency at half load, to one image")


def _pair(axes: Any, title: str, spreads: Sequence[Facts]) -> None:
    values = [spread["median"] for spread in spreads]
    errors = [[abs(spread.get(end, value) - value) for end in ("low", "high")] for spread, value in _with(spreads)]
    for place, colour in enumerate((SHIPS, OTHER)):
        _bars(axes, [place], values[place : place + 1], errors[place : place + 1], colour, "")
    axes.set_xticks([0, 1], ["atd serve", "tritonserver,\nstand-in backend"])
    _finish(axes, title)


def _with(spreads: Sequence[Facts]) -> list[tuple[Facts, float]]:
    return [(spread, spread["median"]) for spread in spreads]


def _bars(
    axes: Any,
    at: Sequence[float],
    values: Sequence[float],
    errors: Sequence[Sequence[float]] | None,
    colour: str,
    name: str,
) -> None:
    columns = None if errors is None else list(zip(*errors, strict=True))
    width = 0.25 if len(at) > 1 or name else 0.6
    axes.bar(at, values, width, color=colour, label=name or None, yerr=columns, error_kw={"lw": 1, "ecolor": "0.3"})


def _finish(axes: Any, title: str) -> None:
    """Write above what the bars are and below what their colours mean, once all are there."""
    axes.set_title(title, loc="left")
    axes.set_ylim(0, None)
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.09), ncols=3, columnspacing=1.2)
