from __future__ import annotations

import dataclasses

import pytest

from adaptertune_deploy.train.outcome.measured import ADAPTER, HEAD
from tests.train.outcome.measured_values import make_gate, make_head_only, make_measured


def test_what_ships_is_one_of_the_candidates() -> None:
    measured = make_measured()
    assert measured.shipped is measured.head
    assert dataclasses.replace(measured, ships=ADAPTER).shipped is measured.adapter
    assert make_head_only().shipped.parameters == measured.head.parameters


def test_a_gain_is_counted_in_its_standard_errors() -> None:
    assert make_gate(0.03, 0.012).standard_errors == pytest.approx(2.5)
    assert make_gate(0.0, 0.0).standard_errors == 0
    assert (make_gate(0.03, 0.012).ships, make_gate(0.02, 0.012).ships) == (ADAPTER, HEAD)
