"""core.precision: one spelling in files, messages and options."""

from __future__ import annotations

import json

import pytest

from adaptertune_deploy.core.precision import Precision


@pytest.mark.parametrize("precision", Precision)
def test_a_precision_reads_as_it_is_written(precision: Precision) -> None:
    assert str(precision) == f"{precision}" == precision.value
    assert json.loads(json.dumps(precision)) == precision.value
    assert Precision(precision.value) is precision


def test_their_names_are_part_of_file_names() -> None:
    assert [precision.value for precision in Precision] == ["fp32", "fp16", "bf16", "int8"]
