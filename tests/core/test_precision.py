"""core.precision: one spelling in files, messages and options."""

from __future__ import annotations

import json

import pytest

from adaptertune_deploy.core.errors import UsageError
from adaptertune_deploy.core.precision import TOLERANCES, Precision, Tolerance


@pytest.mark.parametrize("precision", Precision)
def test_a_precision_reads_as_it_is_written(precision: Precision) -> None:
    assert str(precision) == f"{precision}" == precision.value
    assert json.loads(json.dumps(precision)) == precision.value
    assert Precision(precision.value) is precision


def test_a_name_is_as_good_as_the_value() -> None:
    assert Precision.of("int8-qdq") is Precision.of(Precision.INT8_QDQ) is Precision.INT8_QDQ


@pytest.mark.parametrize(("given", "end"), [("fp3", r" Did you mean 'fp32'\?"), ("double", ""), (None, "")])
def test_an_unknown_name_is_answered_with_those_that_there_are(given: object, end: str) -> None:
    with pytest.raises(UsageError, match=rf"^no precision '{given}', only fp32, fp16, bf16, int8, int8-qdq\.{end}$"):
        Precision.of(given)


def test_their_names_are_part_of_file_names() -> None:
    assert [precision.value for precision in Precision] == ["fp32", "fp16", "bf16", "int8", "int8-qdq"]


def test_every_precision_has_a_tolerance_and_coarser_ones_allow_more() -> None:
    allowed = [TOLERANCES[precision].largest(7.3) for precision in Precision]
    assert allowed == sorted(allowed)
    assert len(set(allowed)) == len(Precision)


def test_a_tolerance_grows_with_the_logits() -> None:
    assert Tolerance(0.25, 0.5, 1.0).largest(3.0) == 1.75
