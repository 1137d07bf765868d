"""core.precision: one spelling in files, messages and options."""

from __future__ import annotations

import json

import pytest

from adaptertune_deploy.core.precision import TOLERANCES, Precision, Tolerance


@pytest.mark.parametrize("precision", Precision)
def test_a_precision_reads_as_it_is_written(precision: Precision) -> None:
    assert str(precision) == f"{precision}" == precision.value
    assert json.loads(json.dumps(precision)) == precision.value
    assert Precision(precision.value) is precision


def test_their_names_are_part_of_file_names() -> None:
    assert [precision.value for precision in Precision] == ["fp32", "fp16", "bf16", "int8", "int8-qdq"]


def test_every_precision_has_a_tolerance_and_coarser_ones_allow_more() -> None:
    allowed = [TOLERANCES[precision].largest(7.3) for precision in Precision]
    assert allowed == sorted(allowed)
    assert len(set(allowed)) == len(Precision)


def test_a_tolerance_grows_with_the_logits() -> None:
    assert Tolerance(0.25, 0.5, 1.0).largest(3.0) == 1.75
