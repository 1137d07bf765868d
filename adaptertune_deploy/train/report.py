"""The folder adapters/<task>/report/: what was measured, as JSON, CSV and two pictures."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adaptertune_deploy.core import files
from adaptertune_deploy.train.evaluate import Scores
from adaptertune_deploy.train.fit import Fit
from adaptertune_deploy.train.proofs import Proofs
from adaptertune_deploy.train.recipe import Recipe

# Above this many classes a picture can't show every name.
MOST_NAMED_CLASSES = 40
LONGEST_LABEL = 32


@dataclass(frozen=True)
class Measured:
    """Everything a training run measured.

    split: which split the scores are of, "test" or "val".
    head_only: the linear probe on frozen features, the baseline.
    adapter: adapters and head, best epoch.
    recipe: as it really ran: nothing in it is left to choose.
    augment: the preset of the training images (data.augment.PRESETS).
    trainable, frozen: numbers of parameters.
    penalty: of the linear probe.
    precision: of the training steps.
    device: the processor that trained.
    seconds: of the whole run.
    """

    split: str
    head_only: Scores
    adapter: Scores
    fit: Fit
    proofs: Proofs
    recipe: Recipe
    augment: str
    trainable: int
    frozen: int
    penalty: float
    precision: str
    device: str
    seconds: float


def write_report(folder: Path, measured: Measured, labels: Sequence[str]) -> None:
    """Write report.json, per_class.csv, curves.png and confusion.png into `folder`."""
    text = json.dumps(report_facts(measured), indent=2, allow_nan=False) + "\n"
    files.write_bytes(folder / "report.json", text.encode())
    files.write_bytes(folder / "per_class.csv", per_class_csv(measured, labels).encode())
    files.write_bytes(folder / "curves.png", _picture(lambda axes: _draw_curves(axes, measured), (7.0, 4.0)))
    side = min(16.0, max(5.0, 0.3 * len(labels) + 2.0))
    files.write_bytes(
        folder / "confusion.png", _picture(lambda axes: _draw_confusion(axes, measured, labels), (side, side))
    )


def report_facts(measured: Measured) -> dict[str, Any]:
    """Return the run as plain JSON values; NaN becomes null."""
    facts = {
        "split": measured.split,
        "head_only": _score_facts(measured.head_only),
        "adapter": _score_facts(measured.adapter),
        "parameters": {"trainable": measured.trainable, "frozen": measured.frozen},
        "probe_penalty": measured.penalty,
        "proofs": dataclasses.asdict(measured.proofs),
        "recipe": {**dataclasses.asdict(measured.recipe), "augment": measured.augment},
        "precision": measured.precision,
        "device": measured.device,
        "seconds": round(measured.seconds, 1),
        "best_epoch": measured.fit.best_epoch,
        "history": [dataclasses.asdict(entry) for entry in measured.fit.history],
    }
    return _without_nan(facts)  # type: ignore[no-any-return]


def per_class_csv(measured: Measured, labels: Sequence[str]) -> str:
    """Return one line a class: label, images, accuracy of the head alone and of the adapter."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["label", "images", "head_only", "adapter"])
    for index, label in enumerate(labels):
        images = int(measured.adapter.confusion[index].sum())
        pair = (measured.head_only.per_class[index], measured.adapter.per_class[index])
        writer.writerow([label, images, *("" if math.isnan(value) else f"{value:.4f}" for value in pair)])
    return out.getvalue()


def _score_facts(scores: Scores) -> dict[str, float]:
    names = ("images", "top1", "top5", "loss", "calibration_error")
    return {name: getattr(scores, name) for name in names}


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _picture(draw: Any, size: tuple[float, float]) -> bytes:
    """Draw on one pair of axes and return the PNG; the non-interactive canvas needs no screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.add_subplot())
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Glyph", UserWarning
        )  # a label in a script that the font lacks shows as boxes
        figure.savefig(out, format="png")
    return out.getvalue()


def _draw_curves(axes: Any, measured: Measured) -> None:
    history = measured.fit.history
    epochs = [entry.epoch + 1 for entry in history]
    axes.plot(epochs, [entry.train_loss for entry in history], marker="o", ms=3, label="training loss (augmented)")
    if not math.isnan(history[0].val_loss):
        axes.plot(epochs, [entry.val_loss for entry in history], marker="o", ms=3, label="validation loss")
        axes.axvline(measured.fit.best_epoch + 1, color="0.6", ls=":", label="kept epoch")
    axes.set(xlabel="epoch", ylabel="cross-entropy (nats)", ylim=(0, None))
    axes.set_title(
        f"{measured.split} accuracy: head alone {measured.head_only.top1:.1%}, adapter {measured.adapter.top1:.1%}"
    )
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_confusion(axes: Any, measured: Measured, labels: Sequence[str]) -> None:
    counts = measured.adapter.confusion
    shares = counts / counts.sum(axis=1, keepdims=True).clip(1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(
        xlabel="answered", ylabel="true", title=f"adapter, {measured.split} split, {measured.adapter.images} images"
    )
    if len(labels) > MOST_NAMED_CLASSES:
        return
    names = [label if len(label) <= LONGEST_LABEL else f"{label[: LONGEST_LABEL - 1]}…" for label in labels]
    axes.set_xticks(range(len(names)), names, rotation=90, parse_math=False)
    axes.set_yticks(range(len(names)), names, parse_math=False)
    if len(labels) <= 15:
        for row, column in zip(*counts.nonzero(), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, counts[row, column], ha="center", va="center", color=colour, fontsize=8)
