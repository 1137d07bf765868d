"""benchmarks.ranks.nested_widths: what its committed results must show, and that widths are what they say."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from adaptertune_deploy.model.adapter import Adapter
from benchmarks.ranks.nested_widths import RANK, RESULTS, WAYS, WIDTHS, accuracies, logits, train
from benchmarks.ranks.planted import Case, Student, draw


@pytest.fixture
def means() -> dict[str, np.ndarray]:
    """Return the accuracies of each way [width], mean over the cases."""
    if not RESULTS.exists():
        pytest.skip("the benchmark has not been run yet: make bench-nested-widths")
    cases = json.loads(RESULTS.read_text())["cases"]
    return {name: np.mean([case["accuracies"][name] for case in cases], axis=0) for name in ("trained alone", *WAYS)}


def test_no_way_that_costs_as_much_or_more_is_better_than_the_products(means: dict[str, np.ndarray]) -> None:
    assert all(means["in turn"].mean() >= means[name].mean() - 0.3 for name in WAYS)


def test_nested_widths_lose_little_of_those_that_are_trained_alone(means: dict[str, np.ndarray]) -> None:
    assert (means["trained alone"] - means["in turn"]).max() <= 3


def test_rows_pass_their_hidden_units_as_the_products_adapter_does() -> None:
    student = Student(draw(Case(4, 400, 1.0, 1)), RANK)
    assert student.down is not None
    assert student.up is not None
    torch.nn.init.normal_(student.up.weight)
    adapter = Adapter(64, RANK, 1.0)
    adapter.down, adapter.up = student.down, student.up
    inputs, widths = student.problem.inputs[:3], torch.tensor([1, 8, 32])
    adapter.closed = (torch.arange(RANK) >= widths[:, None])[:, None, :]
    branch = adapter(inputs[:, None, :])[:, 0]
    torch.testing.assert_close(logits(student, inputs, widths), student.head(student.problem.block(inputs + branch)))


@pytest.mark.parametrize("way", WAYS)
def test_every_way_learns_at_every_width(way: str) -> None:
    problem = draw(Case(4, 400, 1.0, 1))
    before, after = accuracies(Student(problem, RANK)), accuracies(train(problem, WAYS[way], steps=40))
    assert len(after) == len(WIDTHS)
    assert min(np.array(after) - np.array(before)) > 10
