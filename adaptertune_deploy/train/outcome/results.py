"""The folder adapters/<task>/report/: what was measured, as JSON, CSV and pictures."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from adaptertune_deploy.core.adapter.nested import WidthRecord
from adaptertune_deploy.core.adapter.training_record import RecipeRecord
from adaptertune_deploy.core.answers.significance import Spread, wilson
from adaptertune_deploy.core.storage import files
from adaptertune_deploy.report.accuracy import Candidate, Gain, draw_accuracy
from adaptertune_deploy.report.confusion import draw_confusion
from adaptertune_deploy.report.curves import Point, draw_curves
from adaptertune_deploy.report.ranks import RankPoint, draw_ranks
from adaptertune_deploy.train.outcome import verdict
from adaptertune_deploy.train.outcome.measured import (
    ADAPTER,
    FULL,
    HEAD,
    Gate,
    Measure,
    Measured,
    NestedWidth,
    RankChoice,
)
from adaptertune_deploy.train.outcome.score_rows import FEWEST_CLASSES_FOR_TOP5, hits
from adaptertune_deploy.train.outcome.scores import Scores


def write_report(folder: Path, measured: Measured, labels: Sequence[str], recipe: RecipeRecord | None) -> None:
    """Write report.json, per_class.csv, accuracy.png and confusion.png, for adapters curves.png.

    A search has rank.png too, and nested adapters have widths.png.

    Args:
        folder: made when it is absent.
        measured: what the run measured.
        labels: one a class.
        recipe: as it ran; None for rank 0.
    """
    text = json.dumps(report_facts(measured, labels, recipe), indent=2, allow_nan=False) + "\n"
    written = {
        "report.json": text.encode(),
        "per_class.csv": per_class_csv(measured, labels).encode(),
        "accuracy.png": _accuracy(measured),
        "confusion.png": _confusion(measured, labels),
    }
    if measured.rank is not None and measured.rank.tried:
        written["rank.png"] = _rank(measured.rank, verdict.rank(measured) or "")
    if nested := [width.record for width in measured.widths if width.record.measure is not None]:
        written["widths.png"] = _widths(nested, verdict.widths(measured) or "")
    if measured.curve:
        points = [Point(step.step, step.loss, step.lr) for step in measured.curve]
        written["curves.png"] = draw_curves(points, f"{verdict.NAMES[measured.method]} on all training images")
    for name, data in written.items():
        files.write_bytes(folder / name, data)


def report_facts(measured: Measured, labels: Sequence[str], recipe: RecipeRecord | None) -> dict[str, Any]:
    """Return the run as plain JSON values; what was not measured is null."""
    result = verdict.compared(measured)
    facts = {
        "ships": measured.ships,
        "chosen_by": measured.chosen_by,
        "why": verdict.ships(measured),
        "test_images": measured.head.scores.images,
        "copies": list(measured.copies.sentences),
        "classes_unequal": measured.classes_unequal,
        "head": measure_facts(measured.head, labels),
        **{name: _trained_facts(measured, name, labels) for name in (ADAPTER, FULL)},
        "paired": None
        if result is None
        else {
            **dataclasses.asdict(result),
            "p": result.p,
            "gain": result.gain,
            "interval": list(result.interval),
            "words": result.words,
        },
        "out_of_fold": _gate_facts(measured.gate, measured.method),
        "repeats": [
            {
                "seed": repeat.seed,
                measured.method: measure_facts(repeat.adapter, labels),
                "out_of_fold": _gate_facts(repeat.gate, measured.method),
            }
            for repeat in measured.repeats
        ],
        "rank": _rank_facts(measured),
        "widths": [_width_facts(width, labels) for width in measured.widths],
        "seeds": _seed_facts(measured),
        "frozen_parameters": measured.frozen,
        "proofs": dataclasses.asdict(measured.proofs) if measured.proofs else None,
        "recipe": dataclasses.asdict(recipe) if recipe else None,
        "seconds": round(measured.seconds, 1),
        "curve": [dataclasses.asdict(step) for step in measured.curve],
    }
    return _finite(facts)  # type: ignore[no-any-return]


def _trained_facts(measured: Measured, method: str, labels: Sequence[str]) -> dict[str, Any] | None:
    known = measured.adapter if measured.method == method else None
    return measure_facts(known, labels) if known is not None else None


def measure_facts(measure: Measure, labels: Sequence[str]) -> dict[str, Any]:
    """Return one candidate on the test images as plain JSON values; top-5 is null for ten classes and fewer."""
    scores, worst = measure.scores, measure.scores.worst_class
    return {
        "images": scores.images,
        "right": hits(measure),
        "top1": scores.top1,
        "top1_interval": list(wilson(hits(measure), scores.images)),
        "top5": scores.top5 if len(labels) >= FEWEST_CLASSES_FOR_TOP5 else None,
        "balanced": scores.balanced,
        "worst_class": {
            "label": labels[worst],
            "images": int(scores.class_images[worst]),
            "right": int(scores.confusion[worst, worst]),
        },
        "loss": scores.loss,
        "calibration_error": scores.calibration_error,
        "calibration": dataclasses.asdict(measure.calibration),
        "parameters": measure.parameters,
    }


def per_class_csv(measured: Measured, labels: Sequence[str]) -> str:
    """Return one line a class: label, test images, then right answers, accuracy and its bounds for each candidate."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    candidates = {HEAD: measured.head, **({measured.method: measured.adapter} if measured.adapter else {})}
    columns = ("right", "accuracy", "low", "high")
    writer.writerow(["label", "images", *(f"{name}_{column}" for name in candidates for column in columns)])
    for index, label in enumerate(labels):
        cells = [cell for one in candidates.values() for cell in _class_cells(one.scores, index)]
        writer.writerow([label, measured.head.scores.class_images[index], *cells])
    return out.getvalue()


def _class_cells(scores: Scores, index: int) -> tuple[str, ...]:
    images, right = int(scores.class_images[index]), int(scores.confusion[index, index])
    if images == 0:
        return "0", "", "", ""
    low, high = wilson(right, images)
    return str(right), f"{right / images:.4f}", f"{low:.4f}", f"{high:.4f}"


def _gate_facts(gate: Gate | None, method: str) -> dict[str, Any] | None:
    if gate is None:
        return None
    return {
        **dataclasses.asdict(gate),
        "standard_errors": gate.standard_errors,
        "words": verdict.out_of_fold(gate, method),
    }


def _rank_facts(measured: Measured) -> dict[str, Any] | None:
    if measured.rank is None:
        return None
    choice = dataclasses.asdict(measured.rank) | {"seconds": round(measured.rank.seconds, 1)}
    return {**choice, "cost": round(verdict.cost_of(measured), 2), "words": verdict.rank(measured)}


def _width_facts(width: NestedWidth, labels: Sequence[str]) -> dict[str, Any]:
    record = dataclasses.asdict(width.record)
    return {"rank": record["rank"], "out_of_fold": record["measure"], "test": measure_facts(width.test, labels)}


def _seed_facts(measured: Measured) -> dict[str, Any] | None:
    values = verdict.seed_accuracies(measured)
    if len(values) < 2:
        return None
    spread = Spread(values)
    return {
        "top1": list(values),
        "mean": spread.mean,
        "deviation": spread.deviation,
        "bounds": list(spread.bounds),
        "method": spread.method,
    }


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _accuracy(measured: Measured) -> bytes:
    candidates = [
        Candidate(
            verdict.NAMES[name],
            hits(one),
            one.scores.images,
            measured.ships == name,
            verdict.seed_accuracies(measured)[1:] if name != HEAD else (),
        )
        for name, one in ((HEAD, measured.head), (measured.method, measured.adapter))
        if one is not None
    ]
    gate, gain = measured.gate, None
    if gate is not None and gate.head is not None:
        asked = f"{gate.standard_errors:.1f} standard errors, {gate.threshold:g} are asked for"
        gain = Gain(gate.gain, gate.error, gate.threshold, f"{gate.images:,} images out of fold; {asked}")
    notes = (
        *measured.copies.leaked,
        verdict.on_the_same_images(measured),
        *verdict.seeds(measured),
        verdict.coarse(candidates[0].images),
    )
    return draw_accuracy(candidates, gain, verdict.ships(measured), [note for note in notes if note])


def _rank(choice: RankChoice, words: str) -> bytes:
    points = [RankPoint(one.rank, one.loss, one.above, one.error, one.top1) for one in choice.tried]
    return draw_ranks(points, choice.rank, words)


def _widths(records: Sequence[WidthRecord], words: str) -> bytes:
    points = [
        RankPoint(one.rank, one.measure.loss, one.measure.above, one.measure.error, one.measure.top1)
        for one in records
        if one.measure is not None
    ]
    return draw_ranks(points, records[-1].rank, words)


def _confusion(measured: Measured, labels: Sequence[str]) -> bytes:
    scores = measured.shipped.scores
    title = f"{verdict.NAMES[measured.ships]} (ships), {scores.images:,} test images"
    return draw_confusion(scores.confusion, labels, title)
