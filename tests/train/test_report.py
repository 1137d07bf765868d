"""train.report: the facts of a run come back from JSON and CSV, and two pictures can always be drawn."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
from PIL import Image

from adaptertune_deploy.train import report
from adaptertune_deploy.train.evaluate import score
from adaptertune_deploy.train.fit import Epoch, Fit
from adaptertune_deploy.train.report import per_class_csv, report_facts, write_report
from tests.train.runs import make_measured

LABELS = ("ash", "elm", "oak")


def test_four_files_are_written(tmp_path: Path) -> None:
    write_report(tmp_path / "report", make_measured(), LABELS)
    found = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert found == ["confusion.png", "curves.png", "per_class.csv", "report.json"]


def test_the_facts_come_back(tmp_path: Path) -> None:
    measured = make_measured()
    write_report(tmp_path, measured, LABELS)
    facts = json.loads((tmp_path / "report.json").read_text())
    assert facts == report_facts(measured)
    assert facts["split"] == "test"
    assert facts["adapter"] == {
        "images": 40,
        "top1": measured.adapter.top1,
        "top5": 1.0,
        "loss": measured.adapter.loss,
        "calibration_error": measured.adapter.calibration_error,
    }
    assert facts["head_only"]["top1"] == measured.head_only.top1 != measured.adapter.top1
    assert facts["parameters"] == {"trainable": 39_264, "frozen": 5_524_416}
    assert facts["proofs"] == {
        "start_is_exact": True,
        "start_images": 8,
        "frozen_tensors": 150,
        "frozen_sha256": "f" * 64,
        "adapters_with_gradient": 12,
    }
    assert facts["recipe"] == {**dataclasses.asdict(measured.recipe), "augment": "fine"}
    assert (facts["best_epoch"], facts["precision"], facts["seconds"]) == (1, "bf16", 12.3)
    assert [entry["val_loss"] for entry in facts["history"]] == pytest.approx([0.9, 0.8, 0.7])


def test_a_run_without_validation_has_null_where_nothing_was_measured(tmp_path: Path) -> None:
    history = (Epoch(0, 1e-3, 0.5, math.nan, math.nan),)
    write_report(tmp_path, make_measured(fit=Fit(history, 0, 12)), LABELS)
    entry = json.loads((tmp_path / "report.json").read_text())["history"][0]
    assert (entry["val_loss"], entry["val_top1"], entry["train_loss"]) == (None, None, 0.5)


def test_the_table_of_classes() -> None:
    measured = make_measured()
    labels = ("ash", 'tree, "tall"\nand old', "oak")
    rows = list(csv.DictReader(io.StringIO(per_class_csv(measured, labels))))
    assert [row["label"] for row in rows] == list(labels)
    counts = measured.adapter.confusion
    assert [int(row["images"]) for row in rows] == counts.sum(axis=1).tolist()
    assert rows[2] == {"label": "oak", "images": "0", "head_only": "", "adapter": ""}
    for index in (0, 1):
        assert float(rows[index]["adapter"]) == pytest.approx(counts[index, index] / counts[index].sum(), abs=5e-5)
        assert float(rows[index]["head_only"]) == pytest.approx(measured.head_only.per_class[index], abs=5e-5)


@pytest.mark.parametrize("classes", [2, 16, 40, 41, 102])
def test_a_picture_fits_its_number_of_classes(tmp_path: Path, classes: int) -> None:
    write_report(tmp_path, make_measured(classes + 1), [f"class {index}" for index in range(classes + 1)])
    for name in ("curves.png", "confusion.png"):
        with Image.open(tmp_path / name) as picture:
            picture.load()
            assert 300 < min(picture.size) <= max(picture.size) < 2000


def test_the_matrix_shows_how_the_images_of_each_class_were_named() -> None:
    drawn: list[np.ndarray] = []
    texts: list[tuple[Any, ...]] = []
    axes = MagicMock()
    axes.imshow.side_effect = lambda shares, **_: drawn.append(shares)
    axes.text.side_effect = lambda *where, **_: texts.append(where)
    logits = np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 1, 1]]
    measured = make_measured(adapter=score(logits, np.array([0, 0, 0, 0, 1, 1])))
    report._draw_confusion(axes, measured, LABELS)
    np.testing.assert_allclose(drawn[0], [[0.75, 0.25, 0], [0, 1, 0], [0, 0, 0]])
    assert texts == [(0, 0, 3), (1, 0, 1), (1, 1, 2)]


@pytest.mark.parametrize("label", ["$x_{", "$\\frac$", "猫 🐈", "very " * 40 + "long", "a\nb", "100 %", " "])
def test_any_label_can_be_drawn(tmp_path: Path, label: str) -> None:
    write_report(tmp_path, make_measured(), (label, "elm", "oak"))
    with Image.open(tmp_path / "confusion.png") as picture:
        assert picture.size[0] > 300
