from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from adaptertune_deploy.core.adapter.nested import WidthRecord
from adaptertune_deploy.core.answers.significance import wilson
from adaptertune_deploy.train.outcome.measured import Measure
from adaptertune_deploy.train.outcome.score_rows import WIDTH_COLUMNS, score_rows, width_rows
from adaptertune_deploy.train.outcome.scores import score
from tests.train.outcome.measured_values import LABELS, make_measure, make_nested_widths


def rows(*measures: Measure, labels: tuple[str, ...] = LABELS) -> dict[str, tuple[str, ...]]:
    return {row[0]: row[1:] for row in score_rows(measures, labels, 5_524_416)}


def unequal(common: int, rare: int) -> Measure:
    """Return a candidate that answers the first class always: `common` images of it, `rare` of each other one."""
    targets = np.repeat([0, 1, 2], [common, rare, rare])
    return dataclasses.replace(make_measure(), scores=score(np.eye(3, dtype=np.float32)[0 * targets], targets))


def test_each_candidate_has_its_counts_and_its_interval() -> None:
    found = rows(make_measure(30, parameters=7_141), make_measure(33, parameters=39_264))
    assert found["right"] == ("30 of 40", "33 of 40")
    assert found["top-1"] == ("75.0 %", "82.5 %")
    low, high = wilson(30, 40)
    assert found["95 % interval"][0] == f"{100 * low:.1f} .. {100 * high:.1f} %" == "59.8 .. 85.8 %"
    assert found["parameters"] == ("7,141 (0.13 %)", "39,264 (0.71 %)")


def test_a_model_that_names_only_the_common_class_is_seen_through() -> None:
    found = rows(unequal(96, 2))
    assert found["top-1"] == ("96.0 %",)
    assert found["balanced accuracy"] == ("33.3 %",)
    assert found["worst class"] == ("0.0 %: 2 classes",)
    assert rows(make_measure(40, 40))["worst class"] == ("100.0 %: all classes",)  # the third class has no image


@pytest.mark.parametrize(("classes", "shown"), [(10, False), (11, True)])
def test_top5_is_shown_only_where_it_says_something(classes: int, shown: bool) -> None:
    labels = tuple(f"kind {index}" for index in range(classes))
    assert ("top-5" in rows(make_measure(classes=classes), labels=labels)) is shown


def test_calibration_is_told_before_and_after() -> None:
    measure = make_measure(temperature=1.5)
    found, calibration = rows(measure), measure.calibration
    assert found["temperature"] == ("1.50",)
    assert found["loss"] == (f"{measure.scores.loss:.3f} ({calibration.loss_before:.3f} before)",)
    assert found["calibration error"] == (
        f"{measure.scores.calibration_error:.3f} ({calibration.error_before:.3f} before)",
    )
    assert "before" not in "".join(rows(make_measure(temperature=1.0))["loss"])


def test_a_long_label_is_cut_to_one_line() -> None:
    found = rows(make_measure(33), labels=("ash", "elm of a\nrather long name", "oak"))
    assert found["worst class"] == ("16 of 20: elm of a rath...",)


def test_a_width_has_its_size_and_what_it_loses() -> None:
    narrow, _, full = width_rows(make_nested_widths())
    assert narrow == ("1", "1,000", "4.0 kB", "87.0 %", "0.530", "+0.030 ± 0.020", "75.0 %")
    assert len(narrow) == len(WIDTH_COLUMNS)
    assert full[:2] == ("4", "4,000")
    bare = dataclasses.replace(make_nested_widths()[0], record=WidthRecord(1, 1.0))
    assert width_rows([bare])[0][3:6] == ("", "", "")
