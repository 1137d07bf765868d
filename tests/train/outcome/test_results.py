"""train.outcome.results: the facts of a run come back from JSON and CSV, and pictures can always be drawn."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adaptertune_deploy.core.answers.significance import wilson
from adaptertune_deploy.data.duplicates import Told
from adaptertune_deploy.train.outcome.measured import ADAPTER
from adaptertune_deploy.train.outcome.results import per_class_csv, report_facts, write_report
from tests.builders import make_recipe
from tests.train.outcome.measured_values import (
    LABELS,
    make_gate,
    make_head_only,
    make_measure,
    make_measured,
    make_rank_choice,
    make_repeats,
)


def test_five_files_are_written(tmp_path: Path) -> None:
    write_report(tmp_path / "report", make_measured(), LABELS, make_recipe())
    found = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert found == ["accuracy.png", "confusion.png", "curves.png", "per_class.csv", "report.json"]


def test_a_head_alone_has_no_curve(tmp_path: Path) -> None:
    write_report(tmp_path, make_head_only(), LABELS, None)
    assert not (tmp_path / "curves.png").exists()
    facts = json.loads((tmp_path / "report.json").read_text())
    assert [facts[name] for name in ("adapter", "paired", "out_of_fold", "seeds", "proofs", "recipe")] == [None] * 6
    assert facts["head"]["right"] == 30
    header = (tmp_path / "per_class.csv").read_text().splitlines()[0]
    assert header == "label,images,head_right,head_accuracy,head_low,head_high"


def test_the_facts_come_back(tmp_path: Path) -> None:
    copies = Told(("1 of 40 test images is also a training image",), ("2 images stand under two labels",))
    measured = make_measured(repeats=make_repeats(31, 32), classes_unequal=True, copies=copies)
    write_report(tmp_path, measured, LABELS, make_recipe())
    facts = json.loads((tmp_path / "report.json").read_text())
    assert facts == report_facts(measured, LABELS, make_recipe())
    assert (facts["ships"], facts["chosen_by"], facts["test_images"]) == ("head", "gate", 40)
    assert facts["why"] == "the head alone ships: cross-validation shows no gain from the adapter"
    assert facts["adapter"] == {
        "images": 40,
        "right": 33,
        "top1": 33 / 40,
        "top1_interval": list(wilson(33, 40)),
        "top5": None,
        "balanced": measured.adapter.scores.balanced,
        "worst_class": {"label": "ash", "images": 20, "right": 16},
        "loss": measured.adapter.scores.loss,
        "calibration_error": measured.adapter.scores.calibration_error,
        "calibration": dataclasses.asdict(measured.adapter.calibration),
        "parameters": 39_264,
    }
    paired = facts["paired"]
    assert (paired["better"], paired["worse"], paired["images"]) == (4, 1, 40)
    assert (paired["p"], paired["gain"]) == pytest.approx((0.375, 0.075))
    assert paired["interval"][0] < 0 < paired["interval"][1]
    gate = facts["out_of_fold"]
    assert gate == {
        **dataclasses.asdict(make_gate()),
        "standard_errors": pytest.approx(0.021 / 0.018),
        "words": gate["words"],
    }
    assert facts["seeds"]["top1"] == [33 / 40, 31 / 40, 32 / 40]
    assert (facts["seeds"]["mean"], facts["seeds"]["method"]) == (pytest.approx(0.8), "range")
    assert [repeat["seed"] for repeat in facts["repeats"]] == [1, 2]
    assert facts["proofs"] == dataclasses.asdict(measured.proofs)
    assert facts["recipe"] == dataclasses.asdict(make_recipe())
    assert facts["copies"] == [*copies.leaked, *copies.others]
    assert facts["curve"][0] == {"step": 10, "lr": 6e-3, "loss": 1.2}


def test_top5_is_reported_above_ten_classes() -> None:
    labels = tuple(f"kind {index}" for index in range(11))
    facts = report_facts(make_measured(classes=11), labels, None)
    assert facts["head"]["top5"] == make_measured(classes=11).head.scores.top5


def test_the_table_of_classes() -> None:
    measured = make_measured()
    labels = ("ash", 'tree, "tall"\nand old', "oak")
    rows = list(csv.DictReader(io.StringIO(per_class_csv(measured, labels))))
    assert [row["label"] for row in rows] == list(labels)
    assert [row["images"] for row in rows] == ["20", "20", "0"]
    assert (rows[2]["head_right"], rows[2]["adapter_accuracy"], rows[2]["adapter_low"]) == ("0", "", "")
    for name, measure in (("head", measured.head), ("adapter", measured.adapter)):
        for index in (0, 1):
            right = int(measure.scores.confusion[index, index])
            found = [float(rows[index][f"{name}_{column}"]) for column in ("right", "accuracy", "low", "high")]
            np.testing.assert_allclose(found, [right, right / 20, *wilson(right, 20)], atol=5e-5)


@pytest.mark.parametrize("classes", [2, 37])
@pytest.mark.parametrize("ships", ["head", "adapter"])
def test_pictures_are_drawn_of_either_candidate(tmp_path: Path, classes: int, ships: str) -> None:
    measured = make_measured(classes, ships=ships, gate=make_gate(0.1 if ships == ADAPTER else 0.0))
    write_report(tmp_path, measured, [f"kind {index}" for index in range(classes)], make_recipe())
    for name in ("accuracy.png", "curves.png", "confusion.png"):
        with Image.open(tmp_path / name) as picture:
            picture.load()
            assert 300 < min(picture.size) <= max(picture.size) < 1600


def test_no_difference_and_no_error_are_facts_too(tmp_path: Path) -> None:
    same = make_measure(40, 40)
    write_report(tmp_path, make_measured(head=same, adapter=same, gate=make_gate(0.0, 0.0)), LABELS, make_recipe())
    facts = json.loads((tmp_path / "report.json").read_text())
    assert facts["paired"]["words"] == "0 images better, 0 worse: no difference shown (p = 1)"
    assert facts["out_of_fold"]["standard_errors"] == 0


def test_a_searched_rank_stands_in_the_report(tmp_path: Path) -> None:
    measured = make_measured(rank=make_rank_choice(), seconds=12.0)
    write_report(tmp_path, measured, LABELS, None)
    facts = json.loads((tmp_path / "report.json").read_text())["rank"]
    assert (facts["search"], facts["rank"], facts["alike"], facts["cost"]) == ("auto", 4, [4, 8, 32], 2.0)
    assert [one["rank"] for one in facts["tried"]] == [0, 2, 4, 8, 32]
    assert facts["words"].startswith("rank 4, not distinguishable from 8 and 32")
    assert (tmp_path / "rank.png").read_bytes().startswith(b"\x89PNG")
    write_report(tmp_path / "given", make_measured(), LABELS, None)
    assert not (tmp_path / "given" / "rank.png").exists()
    assert json.loads((tmp_path / "given" / "report.json").read_text())["rank"] is None
